"""Skeleton data sets: readers, preparation, splits. See README.md in this folder."""

from ski_edge.data.splits import split, validation_part
from ski_edge.data.store import ClipEntry, Index, SkeletonData, open_data, write_data

__all__ = ["ClipEntry", "Index", "SkeletonData", "open_data", "split", "validation_part", "write_data"]
