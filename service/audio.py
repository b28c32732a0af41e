"""audio file bytes → mono samples at a wanted rate → power spectra and mel filters.

Decoding is by libsndfile and resampling by soxr, both block by block: a file is refused by its
header or at the first block over the limit, and never held as a whole at its own rate.
"""

import io
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32
from numpy import ndarray

from service.errors import InvalidInput, TooLarge, UnsupportedMedia

FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"}
MAGIC = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3")
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 32
BLOCK_SAMPLES = 1 << 20
MAX_AMPLITUDE = 32_768.0
"""Full scale is 1; float files may go over it, up to unscaled 16-bit numbers."""
UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives a number above this when a header does not tell the length."""


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile 0.14 has no types
    """A file read from its beginning to its end.

    soundfile 0.14 seeks to where it stands after every read, which fails at the end of a FLAC
    stream of unknown length and is inexact in MP3, unless the file says it cannot.
    """

    def seekable(self) -> bool:
        return False


def decode(
    data: bytes, *, field: str, rate_hz: int, max_duration_s: float
) -> Float32[ndarray, " samples"]:
    """A whole recording; raises what `blocks` raises."""
    found = blocks(data, field=field, rate_hz=rate_hz, max_duration_s=max_duration_s)
    samples = np.concatenate(list(found))
    if not len(samples):
        raise InvalidInput("the audio has no samples", field)
    return samples


def length_s(data: bytes) -> float | None:
    """How long a recording says it is; None where it does not say, or is none."""
    try:
        with _Stream(io.BytesIO(data)) as file:
            known = file.frames < UNKNOWN_FRAMES
            return file.frames / file.samplerate if known else None
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError):
        return None


def blocks(
    data: bytes, *, field: str, rate_hz: int, max_duration_s: float
) -> Iterator[Float32[ndarray, " samples"]]:
    """Decode WAV, FLAC, MP3, OGG/Vorbis or OGG/Opus to the mean of its channels at `rate_hz`.

    Raises InvalidInput, UnsupportedMedia, or TooLarge if it lasts longer than `max_duration_s`.
    All of them name `field`, and no bytes lead to any other error.
    """
    if not data:
        raise InvalidInput("the audio is empty", field)
    is_mp3 = data[0] == 0xFF and data[1:2] >= b"\xe0"
    if not (data.startswith(MAGIC) or is_mp3):
        raise UnsupportedMedia("not a WAV, FLAC, MP3 or OGG file", field)
    try:
        with _Stream(io.BytesIO(data)) as file:
            yield from _read(file, field=field, rate_hz=rate_hz, max_duration_s=max_duration_s)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidInput("the audio cannot be decoded: the file is broken", field) from error


def _read(
    file: _Stream, *, field: str, rate_hz: int, max_duration_s: float
) -> Iterator[Float32[ndarray, " samples"]]:
    if file.format not in FORMATS:
        raise UnsupportedMedia("not a WAV, FLAC, MP3 or OGG file", field)
    if not MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ:
        limits = f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        raise UnsupportedMedia(f"the sample rate {file.samplerate} Hz is not in {limits}", field)
    if file.channels > MAX_CHANNELS:
        raise UnsupportedMedia(f"{file.channels} channels; at most {MAX_CHANNELS}", field)
    known_frames = file.frames if file.frames < UNKNOWN_FRAMES else 0
    max_frames = int(max_duration_s * file.samplerate)
    resampler = soxr.ResampleStream(file.samplerate, rate_hz, 1, dtype="float32")
    block_frames = BLOCK_SAMPLES // file.channels
    decoded = 0
    while True:
        if max(known_frames, decoded) > max_frames:
            seconds = max(known_frames, decoded) / file.samplerate
            raise TooLarge(f"{seconds:.1f} s of audio; at most {max_duration_s:g} s", field)
        block = file.read(block_frames, dtype="float32", always_2d=True)
        if not (np.abs(block) <= MAX_AMPLITUDE).all():
            raise InvalidInput("the audio has samples that are not finite or far too loud", field)
        decoded += len(block)
        last = len(block) < block_frames
        yield resampler.resample_chunk(block.mean(axis=1), last=last)
        if last:
            break
    if decoded < known_frames and file.format != "MP3":
        seconds = decoded / file.samplerate
        raise InvalidInput(f"the audio breaks off after {seconds:.1f} s", field)


def power_spectrogram(
    samples: Float32[ndarray, "*batch samples"],
    *,
    n_fft: int,
    hop: int,
    window: Float32[ndarray, " window"],
) -> Float32[ndarray, "*batch frames bins"]:
    """Squared magnitudes of the short-time spectrum, without padding at the ends.

    Frames are as long as `window`, start every `hop` samples and are zero-padded to `n_fft`.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, len(window), axis=-1)
    spectrum = np.fft.rfft(frames[..., ::hop, :] * window, n_fft)
    power: Float32[ndarray, "*batch frames bins"] = spectrum.real**2 + spectrum.imag**2
    return power


def _slaney_hz(mels: ndarray) -> ndarray:
    """Linear below 1 kHz (15 mel), then 27 steps per factor of 6.4 (Slaney 1998)."""
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


def _slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def mel_filters(
    *, rate_hz: int, n_fft: int, mels: int, min_hz: float, max_hz: float
) -> Float32[ndarray, "bins mels"]:
    """Triangles of equal area, evenly spaced on the mel scale of Slaney's Auditory Toolbox (1998).

    `power @ mel_filters(...)` is the mel spectrum that librosa and Whisper use.
    """
    edges = _slaney_hz(np.linspace(_slaney_mel(min_hz), _slaney_mel(max_hz), mels + 2))
    bins = np.linspace(0, rate_hz / 2, n_fft // 2 + 1)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    filters: Float32[ndarray, "bins mels"] = triangles.astype(np.float32)
    return filters
