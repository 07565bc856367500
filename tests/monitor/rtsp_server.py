"""A real RTSP server (GStreamer's) on loopback, run by the system's Python; prints its port when it listens."""

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
picture = "video/x-raw,format=I420,width=320,height=240,framerate=15/1"
factory.set_launch(f"( videotestsrc is-live=true ! {picture} ! jpegenc ! rtpjpegpay name=pay0 )")
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)  # noqa: T201
GLib.MainLoop().run()
