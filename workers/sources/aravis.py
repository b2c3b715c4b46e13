"""Aravis, the library that speaks GigE Vision, through ctypes: the few calls that a camera needs.

Not through PyGObject, which is built for one Python (Debian's is for Debian's own): libaravis itself serves any.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any, ClassVar

from pipeline.errors import SourceError

LIBRARY = "libaravis-0.8.so.0"
INSTALL = "apt-get install libaravis-0.8-0 (Debian, Ubuntu), dnf install aravis (Fedora)"
PROTOCOL = b"GigEVision"  # as arv_get_device_protocol names it; USB3 cameras are listed beside them
SUCCESS = 0  # ArvBufferStatus
FAILURES = {1: "cleared", 2: "timeout", 3: "missing_packets", 4: "wrong_packet_id", 5: "size_mismatch", 7: "aborted"}
AUTO_OFF = 0  # ArvAuto
CONTINUOUS = 0  # ArvAcquisitionMode
SIZE_NEVER, SIZE_ONCE = 0, 3  # ArvGvPacketSizeAdjustment: leave it; find the largest when the stream is made
RESEND_NEVER = 0  # ArvGvStreamPacketResend
_G_TYPE_INT = 6 << 2
_CONFIGURATION_CODES = (0, 1)  # ArvDeviceError: the camera has no such feature, or one of another kind
_Double, _Count, _Instance = POINTER(c_double), POINTER(c_uint64), c_void_p

_PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {  # name: what it returns, what it takes
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (c_char_p, (c_uint,)),
    "arv_get_device_serial_nbr": (c_char_p, (c_uint,)),
    "arv_get_device_protocol": (c_char_p, (c_uint,)),
    "arv_camera_is_gv_device": (c_int, (_Instance,)),
    "arv_camera_get_device": (_Instance, (_Instance,)),
    "arv_gv_device_is_controller": (c_int, (_Instance,)),
    "arv_camera_gv_set_packet_size_adjustment": (None, (_Instance, c_int)),
    "arv_stream_push_buffer": (None, (_Instance, _Instance)),
    "arv_stream_timeout_pop_buffer": (_Instance, (_Instance, c_uint64)),
    "arv_stream_get_n_buffers": (None, (_Instance, POINTER(c_int), POINTER(c_int))),
    "arv_buffer_new_allocate": (_Instance, (c_size_t,)),
    "arv_buffer_get_status": (c_int, (_Instance,)),
    "arv_buffer_get_frame_id": (c_uint64, (_Instance,)),
    "arv_buffer_get_timestamp": (c_uint64, (_Instance,)),
    "arv_buffer_get_system_timestamp": (c_uint64, (_Instance,)),
    "arv_buffer_get_image_data": (c_void_p, (_Instance, POINTER(c_size_t))),
    "arv_buffer_get_image_width": (c_int, (_Instance,)),
    "arv_buffer_get_image_height": (c_int, (_Instance,)),
    "arv_buffer_get_image_pixel_format": (c_uint32, (_Instance,)),
}
_CHECKED: dict[str, tuple[Any, tuple[Any, ...]]] = {  # each takes a GError** last
    "arv_camera_new": (_Instance, (c_char_p,)),
    "arv_camera_create_stream": (_Instance, (_Instance, c_void_p, c_void_p)),
    "arv_camera_get_payload": (c_uint, (_Instance,)),
    "arv_camera_get_pixel_format": (c_uint32, (_Instance,)),
    "arv_camera_get_pixel_format_as_string": (c_char_p, (_Instance,)),
    "arv_camera_set_pixel_format_from_string": (None, (_Instance, c_char_p)),
    "arv_camera_set_region": (None, (_Instance, c_int, c_int, c_int, c_int)),
    "arv_camera_get_sensor_size": (None, (_Instance, POINTER(c_int), POINTER(c_int))),
    "arv_camera_is_exposure_auto_available": (c_int, (_Instance,)),
    "arv_camera_set_exposure_time_auto": (None, (_Instance, c_int)),
    "arv_camera_set_exposure_time": (None, (_Instance, c_double)),
    "arv_camera_get_exposure_time_bounds": (None, (_Instance, _Double, _Double)),
    "arv_camera_is_gain_auto_available": (c_int, (_Instance,)),
    "arv_camera_set_gain_auto": (None, (_Instance, c_int)),
    "arv_camera_set_gain": (None, (_Instance, c_double)),
    "arv_camera_get_gain_bounds": (None, (_Instance, _Double, _Double)),
    "arv_camera_is_frame_rate_available": (c_int, (_Instance,)),
    "arv_camera_set_frame_rate": (None, (_Instance, c_double)),
    "arv_camera_get_frame_rate": (c_double, (_Instance,)),
    "arv_camera_get_frame_rate_bounds": (None, (_Instance, _Double, _Double)),
    "arv_camera_clear_triggers": (None, (_Instance,)),
    "arv_camera_set_trigger": (None, (_Instance, c_char_p)),
    "arv_camera_software_trigger": (None, (_Instance,)),
    "arv_camera_gv_set_packet_size": (None, (_Instance, c_int)),
    "arv_camera_set_acquisition_mode": (None, (_Instance, c_int)),
    "arv_camera_start_acquisition": (None, (_Instance,)),
    "arv_camera_stop_acquisition": (None, (_Instance,)),
}


class AravisError(Exception):
    """What Aravis reports; `permanent` when the camera can never do what was asked."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class _GError(ctypes.Structure):
    _fields_: ClassVar = [("domain", c_uint32), ("code", c_int), ("message", c_char_p)]


class _GValue(ctypes.Structure):
    _fields_: ClassVar = [("type", c_size_t), ("data", c_uint64 * 2)]


class Aravis:
    """The loaded library. Calls release the GIL; any thread may make them, an object belongs to one at a time."""

    def __init__(self) -> None:
        """Raises OSError where the library is not installed."""
        self._arv, self._gobject, self._glib = (
            ctypes.CDLL(name) for name in (LIBRARY, "libgobject-2.0.so.0", "libglib-2.0.so.0")
        )
        for name, (returned, taken) in {**_PLAIN, **_CHECKED}.items():
            function = getattr(self._arv, name)
            function.restype = returned
            function.argtypes = [*taken, POINTER(POINTER(_GError))] if name in _CHECKED else taken
        self._gobject.g_object_unref.argtypes = [_Instance]
        self._gobject.g_object_set_property.argtypes = [_Instance, c_char_p, POINTER(_GValue)]
        self._gobject.g_value_init.argtypes = [POINTER(_GValue), c_size_t]
        self._gobject.g_value_set_int.argtypes = [POINTER(_GValue), c_int]
        self._glib.g_error_free.argtypes = [POINTER(_GError)]
        self._glib.g_quark_to_string.argtypes = [c_uint32]
        self._glib.g_quark_to_string.restype = c_char_p

    def call(self, name: str, *arguments: Any) -> Any:
        """One of the functions declared above. Raises AravisError where it reports one."""
        function = getattr(self._arv, name)
        if name not in _CHECKED:
            return function(*arguments)
        reported = POINTER(_GError)()
        returned = function(*arguments, ctypes.byref(reported))
        if reported:
            raise self._error(reported)
        return returned

    def bounds(self, name: str, camera: int) -> tuple[float, float]:
        """Lowest and highest value that a camera takes."""
        low, high = c_double(), c_double()
        self.call(name, camera, ctypes.byref(low), ctypes.byref(high))
        return low.value, high.value

    def set_enumeration(self, instance: int, name: bytes, value: int) -> None:
        """A property of an object that has no function of its own."""
        held = _GValue()
        self._gobject.g_value_init(ctypes.byref(held), _G_TYPE_INT)  # GObject makes an enumeration of an int
        self._gobject.g_value_set_int(ctypes.byref(held), value)
        self._gobject.g_object_set_property(instance, name, ctypes.byref(held))

    def release(self, instance: int) -> None:
        """Give an object back; a camera that does not answer holds this up for some seconds."""
        self._gobject.g_object_unref(instance)

    def _error(self, reported: Any) -> AravisError:
        domain = self._glib.g_quark_to_string(reported.contents.domain) or b""
        code, message = reported.contents.code, reported.contents.message.decode(errors="replace")
        self._glib.g_error_free(reported)
        of_device = domain == b"arv-device-error-quark" and code in _CONFIGURATION_CODES
        return AravisError(message, permanent=of_device or domain == b"arv-gc-error-quark")


@cache
def load_aravis() -> Aravis:
    """The library, loaded once. Raises SourceError with the package to install."""
    try:
        return Aravis()
    except (OSError, AttributeError) as error:
        raise SourceError(
            f"a GigE Vision camera needs the system library {LIBRARY}, which cannot be loaded ({error}): {INSTALL}"
        ) from error
