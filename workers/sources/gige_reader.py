"""Reads a GigE Vision camera through Aravis: settings, triggers, packet loss and lost control."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass

import numpy as np

from pipeline.errors import BadFrame, SourceError, SourceUnavailable
from workers.sources.aravis import (
    AUTO_OFF,
    CONTINUOUS,
    FAILURES,
    PROTOCOL,
    RESEND_NEVER,
    SIZE_NEVER,
    SIZE_ONCE,
    SUCCESS,
    Aravis,
    AravisError,
    load_aravis,
)
from workers.sources.pixel_formats import PIXEL_FORMATS, SUPPORTED, to_bgr
from workers.sources.reader import Picture, ReaderTerms, StreamInfo

SCHEME = "gige"
SLICE_US = 100_000  # longest wait inside Aravis: so long may `wake` go unnoticed
LAST_SHORT_ID = 0xFFFF  # frames are numbered in 16 bits, without 0, unless the camera numbers them in 64
_listing = threading.Lock()  # Aravis frees the names of the last list with the next one


@dataclass(frozen=True, slots=True)
class GigeSettings:
    """What the camera is told at each connection; None leaves what it has."""

    camera: str | None = None  # id, IP address or serial number; None: the first that answers
    pixel_format: str | None = None  # in GenICam's spelling
    exposure_us: float | None = None
    gain_db: float | None = None
    frame_rate: float | None = None  # of a camera that runs freely, or that the line asks for each picture
    region: tuple[int, int, int, int] | None = None  # x, y, width, height on the sensor, pixels
    trigger: str = "free"  # free: it runs freely; software: one picture per `read`; else the input line
    packet_size: int | None = None  # bytes; None: the largest that passes
    packet_resend: bool = True  # ask for lost packets, where the camera can send them again
    n_buffers: int = 8


def gige_url(camera: str | None) -> str:
    """A camera's name as messages show it, and as `clearline probe` takes it."""
    return f"{SCHEME}://{camera or ''}"


class GigeReader:
    """One connection. An incomplete picture raises BadFrame with Aravis's reason; it is never handed out.

    What the camera numbered and nobody received is told to `on_lost`.
    """

    def __init__(self, *, settings: GigeSettings, where: str, terms: ReaderTerms) -> None:
        self._settings = settings
        self._where = where
        self._terms = terms
        self._camera: int | None = None
        self._stream: int | None = None
        self._waking = threading.Event()
        self._last_id: int | None = None
        self._asked_at: float | None = None
        self._info = StreamInfo(reader="aravis")

    @property
    def info(self) -> StreamInfo:
        """Pixel format and frame rate."""
        return self._info

    def open(self) -> None:
        """Find the camera, take control, set it up and start it. Raises SourceError for a setting it cannot take."""
        aravis = load_aravis()
        try:
            self._camera = _open_camera(aravis, self._settings.camera)
            if not _is_controlled(aravis, self._camera):
                raise SourceUnavailable("another program controls this camera; end that one")
            self._info = _set_up(aravis, self._camera, settings=self._settings)
            self._start(aravis, self._camera)
        except AravisError as error:
            self.close()
            kind = SourceError if error.permanent else SourceUnavailable
            raise kind(f"{self._where}: {error}") from None
        except SourceError as error:
            self.close()
            raise type(error)(f"{self._where}: {error}") from None

    def read(self) -> Picture | None:
        """The newest picture, or of a triggered camera the next; None when none came and none had to."""
        if self._stream is None:
            raise SourceUnavailable(f"{self._where}: read needs an open camera; call open first")
        if self._settings.trigger == "software" and not self._ask_for_picture():
            return None
        aravis = load_aravis()
        while (buffer := self._next_buffer(aravis)) is not None:
            try:
                self._count_lost(aravis.call("arv_buffer_get_frame_id", buffer))
                self._require_whole(aravis, buffer)
                if self._settings.trigger != "free" or not self._n_waiting(aravis):
                    return self._picture(aravis, buffer)
                self._terms.on_skip()
            finally:
                aravis.call("arv_stream_push_buffer", self._stream, buffer)
        return None

    def wake(self) -> None:
        """End a blocked `read` within SLICE_US."""
        self._waking.set()

    def close(self) -> None:
        """Stop the camera and give it back; Aravis takes 8 s for one that does not answer, so that is done aside."""
        camera, self._camera = self._camera, None
        stream, self._stream = self._stream, None
        if camera is None:
            return
        aravis = load_aravis()
        held = [one for one in (stream, camera) if one is not None]
        try:
            aravis.call("arv_camera_stop_acquisition", camera)
        except AravisError:
            threading.Thread(target=_release, args=(aravis, held), name="gige farewell", daemon=True).start()
        else:
            _release(aravis, held)

    def _start(self, aravis: Aravis, camera: int) -> None:
        self._stream = aravis.call("arv_camera_create_stream", camera, None, None)
        if self._stream is None:
            raise SourceUnavailable("the camera gives no stream")
        if not self._settings.packet_resend:
            aravis.set_enumeration(self._stream, b"packet-resend", RESEND_NEVER)
        n_bytes = aravis.call("arv_camera_get_payload", camera)
        for _ in range(self._settings.n_buffers):
            aravis.call("arv_stream_push_buffer", self._stream, aravis.call("arv_buffer_new_allocate", n_bytes))
        aravis.call("arv_camera_start_acquisition", camera)

    def _ask_for_picture(self) -> bool:
        """Send the software trigger, not oftener than `frame_rate`; False when it is not time yet."""
        now, rate = self._terms.clock.monotonic(), self._settings.frame_rate
        ahead_s = 0.0 if rate is None or self._asked_at is None else self._asked_at + 1.0 / rate - now
        if ahead_s > 0:
            woken = self._terms.clock.wait(min(ahead_s, SLICE_US / 1e6))
            if woken or ahead_s > SLICE_US / 1e6:
                return False
        self._asked_at = now + max(ahead_s, 0.0)
        try:
            load_aravis().call("arv_camera_software_trigger", self._camera)
        except AravisError as error:
            raise SourceUnavailable(f"{self._where}: the software trigger failed: {error}") from None
        return True

    def _next_buffer(self, aravis: Aravis) -> int | None:
        """Blocks for at most the read time-out; None when woken, or when a line trigger did not come."""
        started_at = self._terms.clock.monotonic()
        while not self._waking.is_set():
            buffer: int | None = aravis.call("arv_stream_timeout_pop_buffer", self._stream, SLICE_US)
            if buffer is not None:
                return buffer
            if not _is_controlled(aravis, self._camera):
                raise SourceUnavailable(
                    f"{self._where}: control of the camera is lost; check the camera and its network"
                )
            waited_s = self._terms.clock.monotonic() - started_at
            if waited_s >= self._terms.read_timeout_ms / 1e3:
                if self._settings.trigger not in ("free", "software"):
                    return None
                raise SourceUnavailable(
                    f"{self._where}: no picture within {waited_s:.1f} s; check the camera and its network"
                )
        return None

    def _n_waiting(self, aravis: Aravis) -> int:
        empty, full = ctypes.c_int(), ctypes.c_int()
        aravis.call("arv_stream_get_n_buffers", self._stream, ctypes.byref(empty), ctypes.byref(full))
        return full.value

    def _count_lost(self, frame_id: int) -> None:
        """Numbers that the camera gave and that never came."""
        last, self._last_id = self._last_id, frame_id
        if last is None:
            return
        n_lost = frame_id - last - 1
        if frame_id < last <= LAST_SHORT_ID:
            n_lost = LAST_SHORT_ID - last + max(frame_id - 1, 0)
        if 0 < n_lost < LAST_SHORT_ID // 2:  # more is another numbering, not a loss
            self._terms.on_lost(n_lost)

    def _require_whole(self, aravis: Aravis, buffer: int) -> None:
        status = aravis.call("arv_buffer_get_status", buffer)
        if status != SUCCESS:
            reason = FAILURES.get(status, "incomplete")
            raise BadFrame(f"{self._where}: an incomplete picture came: {reason.replace('_', ' ')}", reason=reason)

    def _picture(self, aravis: Aravis, buffer: int) -> Picture:
        number = aravis.call("arv_buffer_get_image_pixel_format", buffer)
        pixel_format = PIXEL_FORMATS.get(number)
        if pixel_format is None:
            raise SourceUnavailable(
                f"{self._where}: the camera changed its pixel format to {number:#010x} while it ran"
            )
        n_bytes = ctypes.c_size_t()
        address = aravis.call("arv_buffer_get_image_data", buffer, ctypes.byref(n_bytes))
        image = to_bgr(
            np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes.value).from_address(address)),
            width=aravis.call("arv_buffer_get_image_width", buffer),
            height=aravis.call("arv_buffer_get_image_height", buffer),
            pixel_format=pixel_format,
            where=self._where,
        )
        return Picture(
            image,
            stream_s=aravis.call("arv_buffer_get_timestamp", buffer) / 1e9,
            captured_at=aravis.call("arv_buffer_get_system_timestamp", buffer) / 1e9,
        )


def _open_camera(aravis: Aravis, name: str | None) -> int:
    """By id or address as Aravis knows them, else by serial number, else the first one."""
    if name is None:
        found = _listed(aravis, serial=None)
        if found is None:
            raise SourceUnavailable("no GigE Vision camera answers in this network; is it on, in the same subnet?")
    else:
        found = name.encode()
    try:
        camera = aravis.call("arv_camera_new", found)
    except AravisError:
        by_serial = None if name is None else _listed(aravis, serial=name.encode())
        if by_serial is None:
            raise
        camera = aravis.call("arv_camera_new", by_serial)
    if not aravis.call("arv_camera_is_gv_device", camera):
        aravis.release(camera)
        raise SourceError("expected a GigE Vision camera, got one of another kind")
    return int(camera)


def _listed(aravis: Aravis, *, serial: bytes | None) -> bytes | None:
    """The id of the first camera that answers a broadcast, or of the one with this serial number."""
    with _listing:
        aravis.call("arv_update_device_list")
        for index in range(aravis.call("arv_get_n_devices")):
            if aravis.call("arv_get_device_protocol", index) != PROTOCOL:
                continue
            if serial is None or aravis.call("arv_get_device_serial_nbr", index) == serial:
                found: bytes = aravis.call("arv_get_device_id", index)
                return found
    return None


def _release(aravis: Aravis, held: list[int]) -> None:
    for one in held:
        aravis.release(one)


def _is_controlled(aravis: Aravis, camera: int | None) -> bool:
    return bool(aravis.call("arv_gv_device_is_controller", aravis.call("arv_camera_get_device", camera)))


def _set_up(aravis: Aravis, camera: int, *, settings: GigeSettings) -> StreamInfo:
    """Write what is given, and say what the camera has now."""
    if settings.pixel_format is not None:
        aravis.call("arv_camera_set_pixel_format_from_string", camera, settings.pixel_format.encode())
    if aravis.call("arv_camera_get_pixel_format", camera) not in PIXEL_FORMATS:
        name = aravis.call("arv_camera_get_pixel_format_as_string", camera).decode()
        raise SourceError(f"pixel format {name} is not supported; set pixel_format to one of {SUPPORTED}")
    _set_region(aravis, camera, region=settings.region)
    fps = _set_pace(aravis, camera, settings=settings)
    if settings.exposure_us is not None:
        if aravis.call("arv_camera_is_exposure_auto_available", camera):
            aravis.call("arv_camera_set_exposure_time_auto", camera, AUTO_OFF)
        _set_number(aravis, camera, name="exposure_time", key="exposure_us", value=settings.exposure_us)
    if settings.gain_db is not None:
        if aravis.call("arv_camera_is_gain_auto_available", camera):
            aravis.call("arv_camera_set_gain_auto", camera, AUTO_OFF)
        _set_number(aravis, camera, name="gain", key="gain_db", value=settings.gain_db)
    if settings.packet_size is not None:
        aravis.call("arv_camera_gv_set_packet_size", camera, settings.packet_size)
    adjusted = SIZE_ONCE if settings.packet_size is None else SIZE_NEVER
    aravis.call("arv_camera_gv_set_packet_size_adjustment", camera, adjusted)
    aravis.call("arv_camera_set_acquisition_mode", camera, CONTINUOUS)
    codec = aravis.call("arv_camera_get_pixel_format_as_string", camera).decode()
    return StreamInfo(reader="aravis", codec=codec, fps=fps)


def _set_region(aravis: Aravis, camera: int, *, region: tuple[int, int, int, int] | None) -> None:
    if region is None:
        return
    width, height = ctypes.c_int(), ctypes.c_int()
    aravis.call("arv_camera_get_sensor_size", camera, ctypes.byref(width), ctypes.byref(height))
    right, lower = region[0] + region[2], region[1] + region[3]
    if right > width.value or lower > height.value:
        raise SourceError(
            f"region reaches to {right} x {lower}, but the sensor has {width.value} x {height.value} pixels"
        )
    aravis.call("arv_camera_set_region", camera, *region)


def _set_pace(aravis: Aravis, camera: int, *, settings: GigeSettings) -> float:
    """What lets the camera take a picture; returns its frames per second, 0 where something else decides."""
    if settings.trigger != "free":
        source = "Software" if settings.trigger == "software" else settings.trigger
        aravis.call("arv_camera_set_trigger", camera, source.encode())
        return 0.0
    aravis.call("arv_camera_clear_triggers", camera)
    if settings.frame_rate is not None:
        _set_number(aravis, camera, name="frame_rate", key="frame_rate", value=settings.frame_rate)
    if not aravis.call("arv_camera_is_frame_rate_available", camera):
        return 0.0
    return float(aravis.call("arv_camera_get_frame_rate", camera))


def _set_number(aravis: Aravis, camera: int, *, name: str, key: str, value: float) -> None:
    low, high = aravis.bounds(f"arv_camera_get_{name}_bounds", camera)
    if not low <= value <= high:
        raise SourceError(f"{key} must be {low:g} to {high:g} for this camera, got {value:g}")
    aravis.call(f"arv_camera_set_{name}", camera, value)
