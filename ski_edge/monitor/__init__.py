"""Watching cameras on the device: sources, activity, events, pictures. No torch."""

from ski_edge.monitor.activity import ActivityRules, ActivityState
from ski_edge.monitor.pipeline import Monitor, MonitorOptions, Summary
from ski_edge.monitor.sources import open_source

__all__ = ["ActivityRules", "ActivityState", "Monitor", "MonitorOptions", "Summary", "open_source"]
