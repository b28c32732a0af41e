"""decode and the spectra: the same sound from every format, and one kind of error per bad file."""

import contextlib
import io
import struct

import numpy as np
import pytest
import soundfile
import soxr
from numpy import ndarray

from service.audio import decode, mel_filters, power_spectrogram
from service.errors import InvalidInput, Problem, TooLarge, UnsupportedMedia

RATE_HZ = 16_000
LOSSLESS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("FLAC", "PCM_16")]
LOSSY = [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
# In a FLAC file: 4 bytes of magic, 4 of block header, then STREAMINFO, whose byte 13 ends with the
# upper 4 of the 36 bits that hold the number of samples.
FLAC_LENGTH_AT = 4 + 4 + 13


def chord(rate_hz: int, duration_s: float = 1.0) -> ndarray:
    seconds = np.arange(int(rate_hz * duration_s)) / rate_hz
    wave = sum(np.sin(2 * np.pi * hz * seconds) for hz in (220, 440, 1_500))
    return (0.2 * wave).astype(np.float32)


def file_of(samples: ndarray, rate_hz: int = RATE_HZ, kind: tuple[str, str] = LOSSLESS[0]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=kind[0], subtype=kind[1])
    return buffer.getvalue()


def heard(data: bytes, max_duration_s: float = 60) -> ndarray:
    return decode(data, field="audio", rate_hz=RATE_HZ, max_duration_s=max_duration_s)


def claiming(flac: bytes, samples: int) -> bytes:
    """The same FLAC file with another number of samples in its header; 0 means unknown."""
    edited = bytearray(flac)
    edited[FLAC_LENGTH_AT] &= 0xF0
    edited[FLAC_LENGTH_AT + 1 : FLAC_LENGTH_AT + 5] = struct.pack(">I", samples)
    return bytes(edited)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("kind", LOSSLESS + LOSSY)
def test_the_same_sound_comes_out_of_every_format_rate_and_channel_count(
    kind: tuple[str, str], rate_hz: int, channels: int
) -> None:
    if (kind[1] == "OPUS" and rate_hz == 44_100) or (kind[0] == "MP3" and channels > 2):
        pytest.skip("the format cannot hold this")
    volumes = 1 + np.linspace(-0.5, 0.5, channels) * (channels > 1)
    samples = heard(file_of(chord(rate_hz)[:, None] * volumes, rate_hz, kind))
    wanted = chord(RATE_HZ)
    assert samples.dtype == np.float32
    assert len(samples) == len(wanted)
    middle = slice(2_000, -2_000)
    error = np.sqrt(np.square(samples[middle] - wanted[middle]).mean())
    assert error < (0.001 if kind in LOSSLESS else 0.06)


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (30_000, 2)).astype(np.float32)
    for kind in LOSSLESS[3:] + LOSSY:
        data = file_of(noise, 48_000, kind)
        whole = heard(data)
        with monkeypatch.context() as patched:
            patched.setattr("service.audio.BLOCK_SAMPLES", 2_000)
            np.testing.assert_allclose(heard(data), whole, atol=1e-6)


def test_resampling_in_blocks_is_resampling_at_once() -> None:
    samples = chord(44_100)
    wanted = soxr.resample(samples, 44_100, RATE_HZ)
    np.testing.assert_allclose(heard(file_of(samples, 44_100, ("WAV", "FLOAT"))), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", InvalidInput),
        (file_of(chord(RATE_HZ)[:0]), InvalidInput),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), UnsupportedMedia),
        (b"hello", UnsupportedMedia),
        (file_of(chord(RATE_HZ), kind=("AIFF", "PCM_16")), UnsupportedMedia),
        (file_of(chord(1_000), 1_000), UnsupportedMedia),
        (file_of(np.zeros((100, 40))), UnsupportedMedia),
        (b"RIFF", InvalidInput),
        (file_of(np.array([0, np.nan, 0]), kind=("WAV", "FLOAT")), InvalidInput),
        (file_of(np.array([0, np.inf, 0]), kind=("WAV", "FLOAT")), InvalidInput),
        (file_of(np.array([0, 1e30, 0]), kind=("WAV", "FLOAT")), InvalidInput),
        (file_of(chord(RATE_HZ), kind=("FLAC", "PCM_16"))[:-2_000], InvalidInput),
        (claiming(file_of(chord(RATE_HZ), kind=("FLAC", "PCM_16")), 48_000), InvalidInput),
        (file_of(chord(RATE_HZ, 3), kind=("OGG", "VORBIS"))[:200], InvalidInput),
    ],
    # Writers put the time or a random number into some, which may not be in a name.
    ids=[
        "empty",
        "no samples",
        "a picture",
        "a text",
        "AIFF",
        "too slow",
        "too many channels",
        "only a head",
        "not a number",
        "infinite",
        "too loud",
        "cut off",
        "claims to be longer",
        "only headers",
    ],
)
def test_a_bad_file_is_refused_by_name(data: bytes, error: type[Problem]) -> None:
    with pytest.raises(error) as refusal:
        heard(data)
    assert type(refusal.value) is error
    assert refusal.value.field == "audio"


def test_a_stream_that_does_not_tell_its_length_is_read_to_its_end() -> None:
    flac = file_of(chord(RATE_HZ), kind=("FLAC", "PCM_16"))
    np.testing.assert_array_equal(heard(claiming(flac, 0)), heard(flac))


@pytest.mark.parametrize("kind", LOSSLESS + LOSSY)
def test_the_limit_is_the_last_duration_accepted(kind: tuple[str, str]) -> None:
    data = file_of(chord(RATE_HZ, 2), kind=kind)
    assert len(heard(data, max_duration_s=2)) == 2 * RATE_HZ
    with pytest.raises(TooLarge, match=r"at most 1\.9 s") as refusal:
        heard(data, max_duration_s=1.9)
    assert refusal.value.field == "audio"


@pytest.mark.parametrize("known", [True, False])
def test_a_long_file_is_refused_before_it_is_decoded(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = file_of(np.zeros(3_600 * RATE_HZ, np.float32), kind=("FLAC", "PCM_16"))
    assert len(hour) < 1 << 20
    read = soundfile.SoundFile.read
    frames = []

    def counting(file: soundfile.SoundFile, *args: int, **options: str) -> ndarray:
        frames.append(args[0])
        return read(file, *args, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    with pytest.raises(TooLarge):
        heard(hour if known else claiming(hour, 0))
    assert sum(frames) == (0 if known else 1 << 20)


@pytest.mark.parametrize("kind", LOSSLESS + LOSSY)
def test_no_bytes_lead_to_another_error(kind: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    intact = np.frombuffer(file_of(chord(RATE_HZ, 0.2), kind=kind), np.uint8)
    for _ in range(60):
        data = intact[: rng.integers(len(intact))] if rng.random() < 0.3 else intact
        broken = data.copy()
        for region in (60, len(broken)):
            places = rng.integers(0, max(1, min(region, len(broken))), 4)
            if len(broken):
                broken[places] = rng.integers(0, 256, 4)
        with contextlib.suppress(Problem):
            assert np.isfinite(heard(broken.tobytes())).all()


def test_a_tone_is_in_its_own_bin_of_the_spectrum() -> None:
    window = np.hanning(401)[:-1].astype(np.float32)
    tone = np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    power = power_spectrogram(np.stack([tone, 2 * tone]), n_fft=400, hop=160, window=window)
    assert power.shape == (2, 98, 201)
    assert power.dtype == np.float32
    assert (power.argmax(-1) == 1_000 * 400 / RATE_HZ).all()
    np.testing.assert_allclose(power[1], 4 * power[0], rtol=1e-3, atol=1e-5)
    # A sine of amplitude 1 has half of the window's sum as its magnitude.
    np.testing.assert_allclose(power[0].max(-1), (window.sum() / 2) ** 2, rtol=1e-3)


def test_mel_filters_have_slaneys_centres_and_equal_areas() -> None:
    filters = mel_filters(rate_hz=RATE_HZ, n_fft=4_096, mels=80, min_hz=0, max_hz=8_000)
    assert filters.shape == (2_049, 80)
    bin_hz = RATE_HZ / 4_096
    np.testing.assert_allclose(filters.sum(0) * bin_hz, 1, atol=0.02)
    peaks_hz = filters.argmax(0) * bin_hz
    # 8 kHz is 45.245 mel on this scale; below 1 kHz a mel is 66.7 Hz.
    step_mel = 45.245 / 81
    low = np.arange(1, 26) * step_mel * 200 / 3
    np.testing.assert_allclose(peaks_hz[:25], low, atol=bin_hz)
    np.testing.assert_allclose(
        peaks_hz[60], 1_000 * 6.4 ** ((61 * step_mel - 15) / 27), atol=bin_hz
    )
