"""Real RTSP server for tests, run by Debian's own python3: a video file, once, pictures for ever, or a pattern.

Usage: rtsp_server.py --port 8554 [--file x.mp4 | --frames FOLDER | --pattern ball] [--password secret]
"""

from __future__ import annotations

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - gi wants its versions named before the import

ENCODE = (
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate={kilobits} "
    "! rtph264pay name=pay0 pt=96 config-interval=1"
)
PATTERN_KILOBITS, PICTURES_KILOBITS = 800, 12_000  # per second; of pictures no two are alike


def launch_line(args: argparse.Namespace) -> str:
    """The GStreamer pipeline of one client's media."""
    encode = ENCODE.format(kilobits=PICTURES_KILOBITS if args.frames else PATTERN_KILOBITS)
    if args.file:
        return f'( filesrc location="{args.file}" ! decodebin ! videoconvert ! identity sync=true ! {encode} )'
    if args.frames:
        pictures = f'multifilesrc location="{args.frames}/%06d.jpg" loop=true caps="image/jpeg,framerate={args.fps}/1"'
        return f"( {pictures} ! jpegdec ! videoconvert ! identity sync=true ! {encode} )"
    caps = f"video/x-raw,format=I420,width={args.width},height={args.height},framerate={args.fps}/1"
    return f"( videotestsrc is-live=true pattern={args.pattern} ! {caps} ! {encode} )"


def protect(server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, password: str) -> None:
    """Demand user `user` and `password` by basic authentication."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("user", password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main() -> None:
    """Serve /x until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", default="")
    parser.add_argument("--frames", default="", help="A folder of 000000.jpg, 000001.jpg, ...")
    parser.add_argument("--pattern", default="ball")
    parser.add_argument("--password", default="")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--fps", type=int, default=25)
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(args.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch_line(args))
    factory.set_shared(not args.file)
    if args.password:
        protect(server, factory, args.password)
    server.get_mount_points().add_factory("/x", factory)
    if server.attach(None) == 0:
        raise SystemExit(f"cannot listen on port {args.port}")
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
