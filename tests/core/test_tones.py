"""Tones followed through spectra: evidence as scipy has it, glides in noise, voices that are none, both executors."""

import numpy as np
import pytest
from scipy import signal, stats

from avf_core import tones
from tests.support.native import needed

RATE, FRAME, WINDOW, BINS = 16_000, 200, 512, 292


def heard(sound: np.ndarray) -> np.ndarray:
    """Log powers of the last window of every frame: (frames, bins)."""
    padded = np.pad(sound, (WINDOW - FRAME, 0))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::FRAME]
    found: np.ndarray = np.log(np.abs(np.fft.rfft(windows * np.hanning(WINDOW + 2)[1:-1], 2 * WINDOW)) ** 2 + 4e-5)
    return found[:, :BINS]


def odds(spectra: np.ndarray) -> np.ndarray:
    """Of one sound, after every frame."""
    kept, found = np.zeros((1, tones.width(BINS))), []
    for spectrum in spectra:
        kept, now = tones.follow(kept, spectrum[None])
        found.append(now[0])
    return np.array(found)


def siren(frames: int) -> np.ndarray:
    """Of deviation 1, up and down between 600 and 1,200 Hz."""
    turns = np.cumsum(900.0 + 300.0 * np.sin(6.0 * np.arange(frames * FRAME) / RATE)) / RATE
    return np.sqrt(2.0) * np.sin(2.0 * np.pi * turns)


def test_a_step_is_evidence_by_a_ratio_of_likelihoods() -> None:
    """One bin of one spectrum, by hand: a tone that is known goes on where it was expected to."""
    random = np.random.default_rng(0)
    spectrum = random.normal(size=(1, BINS))
    middle = 100
    spectrum[0, tones.FAR + middle] = 4.0
    kept = np.zeros((tones.NUMBERS, tones.cells(BINS)))
    kept[:, middle - 2] = [10.0, 3.9, 2.0, 1.0]  # from two bins below, at two bins a step
    after, _ = tones.follow(kept.reshape(1, -1), spectrum)
    pairs = [
        min(spectrum[0, tones.FAR + middle - d], spectrum[0, tones.FAR + middle + d])
        for d in range(tones.NEAR, tones.FAR + 1)
    ]
    beside = max(pairs) + tones.RAISED
    both = np.exp(3.9) + np.exp(beside)
    deviation = tones.LOOSE + np.exp(3.9) / both * (tones.TIGHT - tones.LOOSE)
    without = -np.log(tones.LOOSE) - 0.5 * ((4.0 - beside) / tones.LOOSE) ** 2
    normal = stats.norm(np.log(both), deviation).logpdf(4.0) + 0.5 * np.log(2.0 * np.pi)
    evidence = np.clip(normal - without, tones.LEAST, tones.MOST_EVIDENCE)
    assert after.reshape(tones.NUMBERS, -1)[0, middle] == pytest.approx(10.0 - tones.HAZARD + evidence, abs=1e-5)
    assert after.reshape(tones.NUMBERS, -1)[2, middle] == pytest.approx(2.0)


def test_a_tone_that_glides_is_heard_in_louder_noise_and_over_when_it_is() -> None:
    """7 dB below the noise; and nothing is heard in noise alone."""
    random = np.random.default_rng(1)
    noise = random.standard_normal(200 * FRAME)
    mixed = noise.copy()
    mixed[60 * FRAME : 140 * FRAME] += 0.45 * siren(80)
    alone, told = odds(heard(noise)), odds(heard(mixed))
    assert np.median(told[75:140]) > 8.0 > 2.0 > alone[20:].max()
    assert told[146:].max() < 2.0


def test_a_tone_is_covered_by_what_is_louder_for_a_while() -> None:
    """A burst of noise that is far louder hides it, and it is still known."""
    random = np.random.default_rng(2)
    mixed = 0.5 * random.standard_normal(120 * FRAME) + siren(120)
    mixed[80 * FRAME : 86 * FRAME] += 20.0 * random.standard_normal(6 * FRAME)
    told = odds(heard(mixed))
    assert told[79] > 15.0
    assert told[80:88].min() > 5.0


def test_a_tone_whose_loudness_swells_is_followed() -> None:
    """By 10 dB up and down, five times a second, as loud as the noise in its middle."""
    random = np.random.default_rng(7)
    swells = 10.0 ** (0.25 * np.sin(10.0 * np.pi * np.arange(120 * FRAME) / RATE))
    told = odds(heard(random.standard_normal(120 * FRAME) + swells * siren(120)))
    assert np.median(told[20:]) > 8.0


def test_a_voice_s_harmonics_are_no_tone() -> None:
    """Pulses that glide between 180 and 240 Hz and swell, through a formant: each harmonic has others beside it."""
    time = np.arange(160 * FRAME) / RATE
    turns = np.cumsum(210.0 + 30.0 * np.sin(4.0 * np.pi * time)) / RATE
    pulses = np.diff(np.floor(turns), prepend=0.0) * 10.0 ** (0.5 * np.sin(8.0 * np.pi * time))
    radius = 0.97
    voice = signal.lfilter([1.0], [1.0, -2.0 * radius * np.cos(2.0 * np.pi * 800.0 / RATE), radius**2], pulses)
    noise = 0.01 * np.random.default_rng(3).standard_normal(len(voice))
    assert odds(heard(voice + noise)).max() < 2.0
    assert odds(heard(siren(160) + noise))[20:].min() > 8.0


def test_what_is_told_does_not_depend_on_loudness() -> None:
    """Spectra 5 nats higher, once what was kept at first is forgotten."""
    random = np.random.default_rng(4)
    spectra = heard(0.3 * random.standard_normal(120 * FRAME) + siren(120))
    np.testing.assert_allclose(odds(spectra)[40:], odds(spectra + 5.0)[40:], atol=1e-4)


def test_a_row_is_followed_by_itself_and_kept_in_single_precision() -> None:
    """Alone and among others; arguments stay as they were, and zeros are no tone."""
    random = np.random.default_rng(5)
    spectra = random.normal(size=(6, 5, BINS))
    kept = np.zeros((5, tones.width(BINS)))
    alone = kept[2:3]
    for step in spectra:
        before = kept.copy()
        after, found = tones.follow(kept, step)
        np.testing.assert_array_equal(kept, before)
        alone, own = tones.follow(alone, step[2:3])
        np.testing.assert_array_equal(after[2:3], alone)
        np.testing.assert_array_equal(found[2:3], own)
        kept = after
    np.testing.assert_array_equal(kept, kept.astype(np.float32))


def test_a_spectrum_that_is_too_short_has_no_tone() -> None:
    """Where no bin has enough beside it nothing is kept."""
    kept, found = tones.follow(np.zeros((2, tones.width(2 * tones.FAR))), np.zeros((2, 2 * tones.FAR)))
    assert kept.shape == (2, 0)
    np.testing.assert_array_equal(found, tones.BIRTH)


def test_the_executor_follows_as_numpy_does() -> None:
    """To rounding, of spectra of any size: with whole vectors of bins, and a part of one."""
    needed()
    random = np.random.default_rng(6)
    for bins in (BINS, 2 * tones.FAR + 8, 2 * tones.FAR + 3):
        kept = np.zeros((3, tones.width(bins)))
        for _ in range(12):
            spectra = 3.0 * random.normal(size=(3, bins))
            after, found = tones.follow(kept, spectra)
            reference, expected = tones.by_numpy(kept, spectra)
            np.testing.assert_allclose(after, reference, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(found, expected, rtol=1e-9)
            kept = after
