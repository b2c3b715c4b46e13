"""What a PLC finds in the server: one folder per camera and region, and whether it may be trusted now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

if TYPE_CHECKING:
    from asyncua.server.server import Server

log = structlog.get_logger()

NAMESPACE = "urn:clearline"
FOLDER = "Clearline"
MAX_REGIONS = 1000  # frames over a topic may name cameras that the configuration does not
COUNTER_MODULUS = 2**32  # a UInt32 begins again at 0

_STRING, _BOOL, _UINT32 = ua.VariantType.String, ua.VariantType.Boolean, ua.VariantType.UInt32
_TYPES = {
    "Label": _STRING,
    "Reject": _BOOL,
    "Decision": _STRING,
    "Confidence": ua.VariantType.Double,
    "EventId": _STRING,
    "CapturedAt": ua.VariantType.DateTime,
    "Counter": _UINT32,
}
_EMPTY = {
    _STRING: "",
    _BOOL: True,
    _UINT32: 0,
    ua.VariantType.Double: 0.0,
    ua.VariantType.DateTime: ua.DateTime.now(UTC),
}
WAITING = ua.StatusCode(ua.UInt32(StatusCodes.BadWaitingForInitialData))
STALE = ua.StatusCode(ua.UInt32(StatusCodes.BadOutOfService))  # with it, OPC UA sets a value to null
SUBSTITUTE = ua.StatusCode(ua.UInt32(StatusCodes.UncertainSubstituteValue))  # Reject keeps a value: True


class Verdict(NamedTuple):
    """One result as a PLC wants it."""

    source_id: str
    roi_id: str
    label: str
    reject: bool
    decision: str
    confidence: float
    event_id: str
    captured_at: float  # UTC


@dataclass(slots=True)
class _Region:
    """One region of one camera."""

    nodes: dict[str, ua.NodeId]
    counter: int = 0
    written_at: float | None = None  # monotonic; None before the first result
    stale: bool = True


class Nodes:
    """All calls on the server's event loop. Values of one result are written without letting a read in between."""

    def __init__(self, server: Server, *, index: int) -> None:
        self._server, self._index = server, index
        self._regions: dict[tuple[str, str], _Region] = {}
        self._beats = 0
        self._said_full = False

    async def make(self, regions: Sequence[tuple[str, str]]) -> None:
        """(camera, region) of each; values are bad until the first result."""
        root = await self._server.nodes.objects.add_object(self._id(FOLDER), FOLDER)
        self._root = root
        self._heartbeat = await self._variable(root, "Heartbeat", kind=_UINT32, value=0)
        self._ready = await self._variable(root, "Ready", kind=_BOOL, value=False)
        for region in regions:
            await self._region(region)

    async def make_triggers(self, cameras: Sequence[str], *, announce: Callable[[str, str], None]) -> None:
        """A node that a PLC may write for each camera; every write is told, also one of the same value."""
        for camera in cameras:
            at = f"{FOLDER}/{camera}"
            parent = self._server.get_node(self._id(at))
            node = await self._variable(parent, "Trigger", kind=_STRING, value="", within=at)
            await self._server.get_node(node).set_writable()

            async def written(_handle: int, value: ua.DataValue, camera: str = camera) -> None:
                announce(camera, str(value.Value.Value or "") if value.Value is not None else "")

            self._server.iserver.aspace.add_datachange_callback(node, AttributeIds.Value, written)

    async def show(self, verdicts: Sequence[Verdict], *, now: float) -> None:
        """In order; of each, the counter last."""
        for one in verdicts:
            region = await self._region((one.source_id, one.roi_id))
            if region is not None:
                await self._write(region, verdict=one, now=now)

    async def watch(self, *, now: float, stale_s: float, line_lives: bool, beats: bool) -> None:
        """Mark what is too old, say whether all can be trusted, and count where the line lives."""
        for region in self._regions.values():
            if not region.stale and (region.written_at is None or now - region.written_at > stale_s):
                await self._spoil(region)
        fresh = line_lives and bool(self._regions) and not any(one.stale for one in self._regions.values())
        await self._set(self._ready, fresh, kind=_BOOL)
        if line_lives and beats:
            self._beats = (self._beats + 1) % COUNTER_MODULUS
            await self._set(self._heartbeat, self._beats, kind=_UINT32)

    async def spoil(self) -> None:
        """The line ends: nothing here may be trusted any more."""
        for region in self._regions.values():
            await self._spoil(region)
        await self._set(self._ready, False, kind=_BOOL)

    async def _write(self, region: _Region, *, verdict: Verdict, now: float) -> None:
        captured = ua.DateTime.fromtimestamp(verdict.captured_at, UTC)
        region.counter = (region.counter + 1) % COUNTER_MODULUS
        values = {
            "Label": verdict.label,
            "Reject": verdict.reject,
            "Decision": verdict.decision,
            "Confidence": verdict.confidence,
            "EventId": verdict.event_id,
            "CapturedAt": captured,
            "Counter": region.counter,
        }
        for name, value in values.items():
            await self._set(region.nodes[name], value, kind=_TYPES[name], at=captured)
        region.written_at, region.stale = now, False

    async def _spoil(self, region: _Region) -> None:
        region.stale = True
        for name, node in region.nodes.items():
            if name == "Reject":
                await self._set(node, True, kind=_BOOL, status=SUBSTITUTE)
            else:
                await self._set(node, None, kind=_TYPES[name], status=STALE)

    async def _region(self, key: tuple[str, str]) -> _Region | None:
        """Made where it is new; None where there are too many."""
        if (known := self._regions.get(key)) is not None:
            return known
        if len(self._regions) >= MAX_REGIONS:
            if not self._said_full:
                log.warning("opc ua shows no further regions", limit=MAX_REGIONS, camera=key[0], roi=key[1])
            self._said_full = True
            return None
        camera, roi = key
        at = f"{FOLDER}/{camera}"
        parent = self._server.get_node(self._id(at))
        if not any(known == camera for known, _ in self._regions):
            parent = await self._root.add_object(parent.nodeid, self._name(camera))
        folder = await parent.add_object(self._id(f"{at}/{roi}"), self._name(roi))
        nodes = {
            name: await self._variable(folder, name, kind=kind, value=_EMPTY[kind], within=f"{at}/{roi}")
            for name, kind in _TYPES.items()
        }
        region = self._regions[key] = _Region(nodes)
        for name, node in nodes.items():
            status = SUBSTITUTE if name == "Reject" else WAITING
            await self._set(node, _EMPTY[_TYPES[name]], kind=_TYPES[name], status=status)
        return region

    async def _variable(
        self, parent: Any, name: str, *, kind: ua.VariantType, value: Any, within: str = FOLDER
    ) -> ua.NodeId:
        identity = self._id(f"{within}/{name}")
        node = await parent.add_variable(identity, self._name(name), ua.Variant(value, kind))
        made: ua.NodeId = node.nodeid
        return made

    def _id(self, path: str) -> ua.NodeId:
        return ua.NodeId(ua.String(path), ua.Int16(self._index))

    def _name(self, text: str) -> ua.QualifiedName:
        return ua.QualifiedName(ua.String(text), ua.UInt16(self._index))

    async def _set(
        self,
        node: ua.NodeId,
        value: Any,
        *,
        kind: ua.VariantType,
        at: ua.DateTime | None = None,
        status: ua.StatusCode | None = None,
    ) -> None:
        now = ua.DateTime.now(UTC)
        await self._server.write_attribute_value(
            node,
            ua.DataValue(
                ua.Variant(value, kind if value is not None else ua.VariantType.Null),
                StatusCode=status or ua.StatusCode(),
                SourceTimestamp=at or now,
                ServerTimestamp=now,
            ),
        )
