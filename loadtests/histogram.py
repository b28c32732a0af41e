"""times in milliseconds → an HDR histogram: percentiles to three digits, merged without loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hdrh.histogram import HdrHistogram
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

LOWEST_US, HIGHEST_US, DIGITS = 1, 3_600_000_000, 3


class Histogram:
    """Times from 1 µs to 1 h, kept in microseconds; longer ones count as 1 h.

    In JSON it is text as every HdrHistogram library reads it (V2, compressed, base64).
    """

    def __init__(self, encoded: str | None = None) -> None:
        """Raises ValueError where the text is no histogram of this kind."""
        self._hdr = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        if encoded is not None:
            try:
                self._hdr.decode_and_add(encoded)
            except Exception as error:  # the package has no common base for what it raises
                raise ValueError(f"not an encoded HDR histogram: {error!r}") from error

    def record_ms(self, time_ms: float, count: int = 1) -> None:
        self._hdr.record_value(min(max(round(time_ms * 1e3), LOWEST_US), HIGHEST_US), count)

    def add(self, other: Histogram) -> None:
        """Merge: as if all times of the other had been recorded here."""
        if other.count:
            self._hdr.add(other._hdr)

    @property
    def count(self) -> int:
        return int(self._hdr.get_total_count())

    def percentile_ms(self, ratio: float) -> float:
        """The time within which this share of requests was answered; 0 where there are none."""
        return float(self._hdr.get_value_at_percentile(100 * ratio)) / 1e3 if self.count else 0.0

    @property
    def max_ms(self) -> float:
        return float(self._hdr.get_max_value()) / 1e3 if self.count else 0.0

    @property
    def mean_ms(self) -> float:
        return float(self._hdr.get_mean_value()) / 1e3 if self.count else 0.0

    def over(self, bound_ms: float) -> int:
        """How many times are longer than this."""
        return sum(count for time_ms, count in self.recorded() if time_ms > bound_ms)

    def recorded(self) -> Iterator[tuple[float, int]]:
        """Every recorded time, in rising order to three digits, with how often it was: the CDF."""
        for each in self._hdr.get_recorded_iterator():
            yield each.value_iterated_to / 1e3, each.count_added_in_this_iter_step

    def encode(self) -> str:
        return str(self._hdr.encode().decode("ascii"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and list(self.recorded()) == list(other.recorded())

    __hash__ = None  # type: ignore[assignment]  # it changes

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        decoded = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), decoded],
            serialization=core_schema.plain_serializer_function_ser_schema(cls.encode),
        )
