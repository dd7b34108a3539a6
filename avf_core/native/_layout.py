"""The structures of source/plan.hpp, field by field, for ctypes."""

import ctypes
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_void_p
from typing import ClassVar

Fields = list[tuple[str, type]]


def _ints(names: str) -> Fields:
    return [(name, c_int32) for name in names.split()]


class Operation(ctypes.Structure):
    """An operation on registers."""

    _fields_: ClassVar[Fields] = [
        *_ints("kind read other out second gates matrix slope activation offset adds"),
        ("low", c_float),
        ("high", c_float),
    ]


class Program(ctypes.Structure):
    """Operations in order."""

    _fields_: ClassVar[Fields] = [("operations", POINTER(Operation)), ("count", c_int32)]


class Register(ctypes.Structure):
    """The size of a row, how far it is to the next, and whether rows are samples."""

    _fields_: ClassVar[Fields] = _ints("size stride sampled")


class Framing(ctypes.Structure):
    """Linear prediction."""

    _fields_: ClassVar[Fields] = [
        *_ints("history order filtering gains reactive spectral noise"),
        ("absolute", c_float),
        ("level", c_float),
    ]


class Plan(ctypes.Structure):
    """A model and a procedure."""

    _fields_: ClassVar[Fields] = [
        ("registers", POINTER(Register)),
        *[(name, Program) for name in ("predict", "features", "decode", "infer", "transition")],
        *[(name, POINTER(c_int32)) for name in ("state", "following", "memory", "remembered")],
        *_ints("register_count state_count memory_count x z seen prior_mean prior_log_variance latents"),
        ("outputs", c_int32 * 2),
        ("asked", c_int32),
        ("said", c_int32 * 2),
        *_ints("latent_size observation_size likelihood"),
        ("framing", Framing),
        *[(name, POINTER(c_float)) for name in ("center", "scale", "shift")],
        *[(name, c_float) for name in ("bin", "lowest", "highest")],
        ("schedule", POINTER(c_int32)),
        *_ints("procedure rule whitened normalize_mean reads_observation"),
        *_ints("iterations scheduled samples antithetic keep_best common_samples guard_samples"),
        *_ints("posterior_stream iteration_stream"),
        ("common_stream", c_int64),
        ("reach", c_float),
        ("gradient_scale", c_float),
    ]


class Expect(ctypes.Structure):
    """Likelihoods at draws from the prior."""

    _fields_: ClassVar[Fields] = [
        *[(name, c_void_p) for name in ("state", "seed", "step")],
        ("outputs", c_void_p * 2),
        ("stream", c_int64),
        *_ints("draws rows threads mixed"),
    ]


class Step(ctypes.Structure):
    """One step: addresses of what goes in and of where what comes out is put."""

    _fields_: ClassVar[Fields] = [
        *[(name, c_void_p) for name in ("state", "memory", "following", "remembered", "x", "observed")],
        *[(name, c_void_p) for name in ("seed", "step", "limits")],
        *[
            (name, c_void_p)
            for name in ("prior_mean", "prior_log_variance", "posterior_mean", "posterior_log_variance")
        ],
        ("z", c_void_p),
        ("likelihood", c_void_p * 2),
        *[
            (name, c_void_p)
            for name in ("free_energy", "reconstruction", "kl", "free_energies", "iterations", "visited")
        ],
        ("expected", POINTER(Expect) * 2),
        ("tolerance", c_double),
        ("budget", c_double),
        *_ints("rows most threads mixed samples"),
    ]


class Part(ctypes.Structure):
    """Successive outputs of a matrix: weight, bias and the number of rows."""

    _fields_: ClassVar[Fields] = [("weight", c_void_p), ("bias", c_void_p), ("rows", c_int32)]


class Learned(ctypes.Structure):
    """A part of a layer's parameters, their gradients and moments, of which operation and from which output on."""

    _fields_: ClassVar[Fields] = [
        *[(name, c_void_p) for name in ("weight", "bias", "by_weight", "by_bias")],
        *[(name, c_void_p) for name in ("weight_mean", "weight_square", "bias_mean", "bias_square")],
        *_ints("rows operation column"),
    ]


class Study(ctypes.Structure):
    """A step of a clip in training."""

    _fields_: ClassVar[Fields] = [("step", Step), ("free_energy", c_void_p), ("kl_weight", c_float), ("at", c_int32)]


class Lesson(ctypes.Structure):
    """What leads from the record of applications to gradients."""

    _fields_: ClassVar[Fields] = [
        ("weight", c_void_p),
        ("learned", POINTER(Learned)),
        *_ints("learned_count applications threads mixed"),
    ]


class Adam(ctypes.Structure):
    """What a step of Adam goes by."""

    _fields_: ClassVar[Fields] = [
        (name, c_float)
        for name in (
            "first_decay",
            "second_decay",
            "epsilon",
            "rate",
            "weight_decay",
            "step_size",
            "root_of_correction",
            "clip_norm",
        )
    ]


class Recurrence(ctypes.Structure):
    """An LSTM over a stretch, or back."""

    _fields_: ClassVar[Fields] = [
        *[(name, c_void_p) for name in ("weight", "projected", "hidden", "cell", "gates", "hiddens", "cells")],
        *[(name, c_void_p) for name in ("by_hiddens", "by_cells", "by_projected", "by_hidden", "by_cell")],
        *_ints("steps rows size threads"),
    ]


class Pixels(ctypes.Structure):
    """The likelihood of a picture's pixels; no bin where it is a density."""

    _fields_: ClassVar[Fields] = [(name, c_float) for name in ("bin", "center", "scale", "low", "high")]


class Advance(ctypes.Structure):
    """A transition."""

    _fields_: ClassVar[Fields] = [
        *[(name, c_void_p) for name in ("state", "following", "x", "z")],
        *_ints("rows threads"),
    ]


class Listening(ctypes.Structure):
    """Sizes and units of what signs of sound are heard in."""

    _fields_: ClassVar[Fields] = [
        *_ints("order history frame parts window lags bins"),
        ("center", c_double),
        ("scale", c_double),
    ]


class Sounds(ctypes.Structure):
    """Rows of windows, of frames, and of the numbers of their filters."""

    _fields_: ClassVar[Fields] = [(name, c_void_p) for name in ("window", "x", "coefficients", "gains", "history")]


# In the order of avf_size.
STRUCTURES = (
    *(Operation, Program, Register, Plan, Step, Advance, Expect, Part),
    *(Learned, Study, Lesson, Adam, Recurrence, Listening, Sounds),
)


NET = [c_int32, c_int32, POINTER(c_int32), POINTER(c_int32), c_float, POINTER(c_void_p)]
"""Sizes, widths, groups, epsilon and weights of an encoder or a decoder."""


def of_library(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with its functions' types."""
    signatures = {
        "avf_usable": (c_int32, []),
        "avf_size": (c_int32, [c_int32]),
        "avf_new": (c_void_p, [POINTER(Plan)]),
        "avf_free": (None, [c_void_p]),
        "avf_matrix": (c_int32, [c_void_p, *[c_int32] * 4]),
        "avf_pack": (None, [c_void_p, c_int32, POINTER(Part), c_int32, c_int32]),
        "avf_training_new": (c_void_p, [c_void_p]),
        "avf_training_free": (None, [c_void_p]),
        "avf_training_hold": (None, [c_void_p, c_int32]),
        "avf_study": (None, [c_void_p, POINTER(Study)]),
        "avf_recur": (None, [POINTER(Recurrence)]),
        "avf_recur_back": (None, [POINTER(Recurrence)]),
        "avf_learn": (None, [c_void_p, POINTER(Lesson)]),
        "avf_move": (c_double, [c_void_p, POINTER(Lesson), POINTER(Adam)]),
        "avf_product": (None, [c_void_p, c_int32, c_void_p, c_int32, c_void_p, c_int32]),
        "avf_step": (None, [c_void_p, POINTER(Step)]),
        "avf_expect": (None, [c_void_p, POINTER(Expect)]),
        "avf_advance": (None, [c_void_p, POINTER(Advance)]),
        "avf_decoder_new": (c_void_p, NET),
        "avf_decoder_free": (None, [c_void_p]),
        "avf_decoder_decode": (None, [c_void_p, c_void_p, c_int32, c_void_p, c_int32]),
        "avf_decoder_slope": (
            None,
            [c_void_p, POINTER(Pixels), *[c_void_p] * 3, c_int32, c_int32, c_void_p, c_void_p, c_int32],
        ),
        "avf_encoder_new": (c_void_p, NET),
        "avf_encoder_free": (None, [c_void_p]),
        "avf_encoder_encode": (None, [c_void_p, c_void_p, c_int32, c_void_p, c_int32]),
        "avf_standard_normal": (None, [*[c_void_p] * 3, c_int32, c_int32, c_int32, c_void_p]),
        "avf_filters": (None, [c_void_p, *[c_int32] * 4, c_void_p]),
        "avf_tones": (None, [*[c_void_p] * 2, *[c_int32] * 2, *[c_void_p] * 2]),
        "avf_signs": (None, [POINTER(Listening), POINTER(Sounds), c_int32, c_void_p]),
        "avf_mixed": (None, [*[c_void_p] * 3, *[c_int32] * 3, *[c_void_p] * 2]),
        "avf_unrolled": (None, [*[c_void_p] * 3, *[c_int32] * 4, *[c_float] * 3, *[c_void_p] * 2]),
        "avf_log_probability": (None, [*[c_void_p] * 3, c_int64, c_float, *[c_void_p] * 3]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
