"""Whisper's features: the numbers it was trained on, whatever the length of the recording."""

import numpy as np
import pytest

from service.log_mel import FRAMES, HOP, MELS, later, log_mel

# transformers 4.57.6, WhisperFeatureExtractor, of `chirp()`: (band, frame) → value.
PUBLISHED = {
    (0, 0): 1.36654, (5, 3): 1.35613, (20, 30): 0.01954, (40, 60): 0.38036, (60, 90): -0.55286,
    (79, 99): -0.28907, (79, 100): 0.22104, (10, 2999): -0.55286,
}  # fmt: skip


def chirp() -> np.ndarray:
    time_s = np.arange(16_000) / 16_000
    phase = 2 * np.pi * (100 * time_s + 1_500 * time_s**2)
    return (0.5 * np.sin(phase)).astype(np.float32)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(samples).astype(np.float32) / 10


def test_features_are_those_of_the_published_extractor() -> None:
    features = log_mel(chirp())
    found = {place: features[place] for place in PUBLISHED}
    assert found == pytest.approx(PUBLISHED, abs=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 199, 16_000, 479_800, 479_999, 480_000])
def test_any_length_gives_thirty_seconds(samples: int) -> None:
    features = log_mel(noise(samples))
    assert features.shape == (MELS, FRAMES)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_missing_samples_are_silence() -> None:
    short = noise(40_123)
    whole = np.concatenate([short, np.zeros(480_000 - 40_123, np.float32)])
    assert np.abs(log_mel(short) - log_mel(whole)).max() < 1e-6


def test_more_than_thirty_seconds_are_refused() -> None:
    with pytest.raises(ValueError, match="480001 samples"):
        log_mel(noise(480_001))


def test_silence_is_flat() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(16_000, np.float32)), -1.5, atol=1e-6)


def test_nothing_is_eighty_decibels_below_the_loudest() -> None:
    features = log_mel(chirp())
    assert features.max() - features.min() == pytest.approx(2)


def test_ten_times_the_amplitude_is_half_a_unit_more() -> None:
    features = log_mel(noise(480_000))
    assert np.allclose(log_mel(noise(480_000) * 10) - features, 0.5, atol=1e-5)


def test_a_tone_is_loudest_in_its_band() -> None:
    time_s = np.arange(16_000) / 16_000
    loudest = [
        int(log_mel(np.sin(2 * np.pi * hz * time_s).astype(np.float32))[:, 50].argmax())
        for hz in (200, 1_000, 4_000, 7_900)
    ]
    assert loudest == sorted(loudest)
    assert loudest[-1] == MELS - 1
    # Linear up to 1 kHz, which is mel 15 of 45.2.
    assert loudest[1] == round(15 / 45.2 * (MELS + 1)) - 1


def test_a_later_window_is_that_of_the_later_samples() -> None:
    samples = noise(200_000)
    frames = 500
    shifted, direct = later(log_mel(samples), frames), log_mel(samples[frames * HOP :])
    # The first frames of the direct one mirror its start.
    assert np.abs(shifted - direct)[:, 2:].max() < 1e-5


def test_the_window_of_no_delay_is_the_same() -> None:
    features = log_mel(noise(480_000))
    assert np.array_equal(later(features, 0), features)
