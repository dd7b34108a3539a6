"""The exact belief under inputs, uneven times and full covariances, against a filter in numpy and scipy."""

import itertools

import mpmath
import numpy as np
import pykalman
import pytest
import torch

from avf_core.analysis.forecasting import forecast
from avf_core.configuration import configure
from avf_core.distributions import FullGaussian
from avf_core.errors import ConfigurationError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.inference import exact, gradient, kalman
from avf_core.models import lgssm
from avf_core.models._continuous import discretised
from avf_core.training import em
from tests.support.driven_kalman import Array, Filtered, System, filtered, smoothed

pytestmark = pytest.mark.usefixtures("shapes_unchecked")

TIME = 15
SIZES = [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 1), (2, 4, 2)]  # observation, latent, inputs
CASES = [
    (System.random(*sizes, timed=timed, seed=place), masked)
    for (place, sizes), timed, masked in itertools.product(enumerate(SIZES), (False, True), (False, True))
]


def filter_of(model: lgssm.Model) -> Filter:
    """The model with its Kalman filter."""
    return Filter(model, kalman.Inference(kalman.Config(), model)).requires_grad_(False)


def data(system: System, *, masked: bool, seed: int = 3) -> tuple[Array, Array, Array, np.ndarray]:
    """Observations, inputs, dt between a hundredth and a hundred, and what is seen: with gaps where masked."""
    draw = np.random.default_rng(seed)
    size, inputs = system.d.shape
    seen = draw.random((TIME, size)) > (0.4 if masked else 0.0)
    seen[10:12] &= not masked
    dts = 10.0 ** draw.uniform(-2.0, 2.0, TIME)
    return 3.0 * draw.normal(size=(TIME, size)), draw.normal(size=(TIME, inputs)), dts, seen


def found_by(system: System, dtype: torch.dtype, xs: Array, us: Array, dts: Array, seen: np.ndarray) -> Estimate:
    """The library's estimates of one sequence."""
    filter = filter_of(system.model(dtype))
    observed = torch.from_numpy(seen)[:, None]
    x = torch.where(observed, torch.from_numpy(xs).to(dtype)[:, None], float("nan"))
    dt = torch.from_numpy(dts).to(dtype)[:, None] if system.timed else None
    inputs = torch.from_numpy(us).to(dtype)[:, None]
    return filter.scan(filter.initial(torch.tensor([5])), x, observed=observed, inputs=inputs, dt=dt)[1]


def check(found: Estimate, t: int, truth: Filtered, tolerance: float) -> None:
    """Moments of the latent before and after, of the observation before, and the evidence."""
    for name in ("prior", "posterior"):
        of = getattr(found, name)
        assert isinstance(of, FullGaussian)
        scale, (mean, covariance) = of.scale[t, 0].double().numpy(), getattr(truth, name)
        np.testing.assert_allclose(of.mean[t, 0].numpy(), mean, atol=tolerance, rtol=tolerance, err_msg=name)
        np.testing.assert_allclose(scale @ scale.T, covariance, atol=tolerance, rtol=tolerance, err_msg=name)
    mean, variance = truth.predicted
    np.testing.assert_allclose(found.prediction.mean[t, 0].numpy(), mean, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(found.prediction.variance[t, 0], variance, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(float(found.free_energy[t, 0]), -truth.log_evidence, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("system", "masked"), CASES)
def test_moments_and_evidence_under_inputs_and_uneven_times(
    system: System, masked: bool, dtype: torch.dtype, tolerance: float
) -> None:
    """Of five sizes with full covariances, in discrete and in continuous time, with masks and gaps."""
    told = data(system, masked=masked)
    found = found_by(system, dtype, *told)
    xs, us, dts, seen = told
    if dtype == torch.float32:  # what a filter is told is rounded, and a long dt turns what was rounded into an angle
        xs, us, dts = (part.astype(np.float32).astype(np.float64) for part in (xs, us, dts))
    for t, truth in enumerate(filtered(system, xs, us, dts, seen)):
        check(found, t, truth, tolerance)


def test_a_driven_system_is_pykalmans() -> None:
    """A filter that nobody here wrote, with what inputs push as offsets of every step."""
    system = System.random(3, 2, 2, timed=False, seed=8)
    xs, us, _, _ = told = data(system, masked=False)
    found = found_by(system, torch.float64, *told)
    theirs = pykalman.KalmanFilter(
        transition_matrices=system.a,
        observation_matrices=system.c,
        transition_covariance=system.q,
        observation_covariance=system.r,
        transition_offsets=us[1:] @ system.b.T + system.drift,
        observation_offsets=us @ system.d.T + system.level,
        initial_state_mean=system.m,
        initial_state_covariance=system.p,
    )
    means, _ = theirs.filter(xs)
    np.testing.assert_allclose(found.posterior.mean[:, 0], means, atol=1e-9)
    assert abs(float(found.free_energy.sum()) + theirs.loglikelihood(xs)) < 1e-8


@pytest.mark.parametrize("dt", [1e-6, 0.3, 1.0, 40.0, 1e5])
def test_a_stretch_of_continuous_time_is_exact(dt: float) -> None:
    """Against 50 digits; a stretch that is long beside the system's memory reaches its stationary covariance."""
    system = System.random(1, 3, 1, timed=True, seed=2)
    factor = np.linalg.cholesky(system.q)
    long = torch.ones(1, dtype=torch.float64) * dt
    phi, psi, scale = discretised(torch.from_numpy(system.a), torch.from_numpy(factor), long)
    with mpmath.workdps(50):
        a, q = mpmath.matrix(system.a.tolist()), mpmath.matrix((factor @ factor.T).tolist())
        solution = lyapunov(a, q)
        moved = mpmath.expm(a * dt) if dt < 1e4 else mpmath.zeros(3)
        covariance = solution - moved * solution * moved.T
        held = a**-1 * (moved - mpmath.eye(3))
        expected = [np.array(each.tolist(), dtype=float) for each in (moved, held, covariance)]
    for ours, theirs in zip((phi[0], psi[0], (scale @ scale.mT)[0]), expected, strict=True):
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-9, atol=1e-13 * max(1e-300, float(np.abs(theirs).max())) + 1e-12 * dt**0 * (dt > 1e4)
        )


def lyapunov(a: mpmath.matrix, q: mpmath.matrix) -> mpmath.matrix:
    """The S of A S + S A' + Q = 0, by its linear equations."""
    n = a.rows
    system, right = mpmath.zeros(n * n), mpmath.zeros(n * n, 1)
    for i, j in itertools.product(range(n), repeat=2):
        right[n * i + j] = -q[i, j]
        for k in range(n):
            system[n * i + j, n * k + j] += a[i, k]
            system[n * i + j, n * i + k] += a[j, k]
    solved = mpmath.lu_solve(system, right)
    return mpmath.matrix([[solved[n * i + j] for j in range(n)] for i in range(n)])


def test_two_short_steps_with_nothing_between_are_one_long_one() -> None:
    """Under a held input: gaps need no grid."""
    system = System.random(2, 3, 1, timed=True, seed=4)
    filter = filter_of(system.model(torch.float64))
    u, x = torch.full((1, 1), 0.7).double(), torch.tensor([[0.4, -1.0]]).double()
    belief, _ = filter.step(filter.initial(torch.tensor([1])), x, inputs=u)
    dt = torch.tensor([1.5]).double()
    short = filter.skip(belief, 1, inputs=u, dt=0.4 * dt)
    _, twice = filter.step(short, x, inputs=u, dt=0.6 * dt)
    _, once = filter.step(belief, x, inputs=u, dt=dt)
    torch.testing.assert_close(twice.posterior.mean, once.posterior.mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(twice.free_energy, once.free_energy, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lag", [1, 4])
@pytest.mark.parametrize("timed", [False, True])
def test_looking_back_is_the_fixed_lag_smoother(timed: bool, lag: int) -> None:
    """Under inputs, uneven times, masks and full covariances: against one joint Gaussian of all latents."""
    system = System.random(2, 2, 1, timed=timed, seed=3)
    xs, us, dts, seen = data(system, masked=True)
    filter = filter_of(system.model(torch.float64))
    dt = torch.from_numpy(dts[:14])[:, None] if timed else None
    x, observed = (torch.from_numpy(part[:14])[:, None] for part in (xs, seen))
    inputs = torch.from_numpy(us[:14])[:, None]
    belief = filter.initial(torch.tensor([5]), lag=lag)
    _, found = filter.scan(belief, x, observed=observed, inputs=inputs, dt=dt)
    assert found.smoothed is not None
    for t in range(lag, 14):
        mean, covariance = smoothed(system, xs, us, dts, seen, at=t - lag, until=t + 1)
        np.testing.assert_allclose(found.smoothed.mean[t, 0], mean, atol=1e-9, rtol=1e-9)
        np.testing.assert_allclose(found.smoothed.log_variance[t, 0].exp(), np.diag(covariance), atol=1e-9, rtol=1e-9)


def test_precise_and_correlated_sensors_stay_exact_in_float32() -> None:
    """Noises of 1e-8 whose correlation is 0.9: the mean is what two sensors say, and energies are finite."""
    system = System.random(2, 2, 1, timed=True, seed=6)
    noise = 1e-8 * np.array([[1.0, 0.9], [0.9, 1.0]])
    precise = System(**{**vars(system), "r": noise, "c": np.eye(2)})
    told = data(precise, masked=False)
    found = found_by(precise, torch.float32, *told)
    assert bool(found.free_energy.isfinite().all())
    xs, us, dts = (part.astype(np.float32).astype(np.float64) for part in told[:3])
    for t, truth in enumerate(filtered(precise, xs, us, dts, told[3])):
        np.testing.assert_allclose(found.posterior.mean[t, 0], truth.posterior[0], rtol=1e-4, atol=1e-4)


def test_forecasts_under_given_inputs_are_the_kalman_predictive() -> None:
    """Within the Monte Carlo error of the paths, with correlated noises and uneven times ahead."""
    system = System.random(2, 2, 1, timed=True, seed=7)
    xs, us, dts, seen = data(system, masked=False)
    dts = np.clip(dts, 0.1, 1.0)
    start, horizon, count = 6, 3, 20000
    filter = filter_of(system.model(torch.float64))
    given = [torch.from_numpy(part[: start + horizon])[:, None] for part in (us, dts)]
    past = {"inputs": given[0][:start], "dt": given[1][:start]}
    belief, _ = filter.scan(filter.initial(torch.tensor([3])), torch.from_numpy(xs[:start])[:, None], **past)
    found = forecast(filter, belief, horizon=horizon, paths=count, inputs=given[0][start:], dt=given[1][start:])
    seen[start:] = False
    truth = filtered(system, xs, us, dts, seen)[start : start + horizon]
    for h, expected in enumerate(truth):
        mean, variance = expected.predicted
        error = 5.0 * np.sqrt(variance / count)
        assert (np.abs(found.mean[h, 0].numpy() - mean) < error).all()
        np.testing.assert_allclose(found.variance[h, 0].numpy(), variance, rtol=5.0 * np.sqrt(2.0 / count))
        covariance = system.c @ expected.prior[1] @ system.c.T + system.r
        np.testing.assert_allclose(found.paths[h, 0].T.cov(), covariance, atol=0.05 * np.abs(covariance).max())


def test_the_gradient_of_the_evidence_is_that_of_finite_differences() -> None:
    """Of every parameter, in continuous time with full covariances: training is maximum likelihood."""
    system = System.random(2, 2, 1, timed=True, seed=9)
    xs, us, dts, _ = data(system, masked=False)
    filter = filter_of(system.model(torch.float64)).requires_grad_(True)
    drive = filter.drive(
        filter.initial(torch.tensor([1])),
        inputs=torch.from_numpy(us[:3])[:, None],
        dt=torch.from_numpy(dts[:3].clip(0.1, 5.0))[:, None],
        time=(3,),
    )
    real = torch.ones(3, 1, dtype=torch.bool)
    clip = em.Clip.whole(torch.from_numpy(xs[:3])[:, None], real, torch.tensor([1]), drive)

    def energy() -> torch.Tensor:
        return em.joint_free_energy(filter, clip, kl_weight=1.0)[0]

    energy().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, parameter in filter.model.named_parameters():
            assert parameter.grad is not None
            flat, slope = parameter.view(-1), parameter.grad.view(-1)
            for place in range(len(flat)):
                kept, sides = float(flat[place]), []
                for side in (1e-5, -1e-5):
                    flat[place] = kept + side
                    sides.append(float(energy()))
                flat[place] = kept
                assert abs((sides[0] - sides[1]) / 2e-5 - float(slope[place])) < 1e-5, name


def test_what_needs_factors_is_refused_by_procedures_that_factorise() -> None:
    """By a filter, with what to do; so are closed forms for diagonal covariances."""
    model = System.random(2, 2, 1, timed=True, seed=1).model(torch.float64)
    with pytest.raises(ConfigurationError, match="use its exact procedure"):
        Filter(model, gradient.Inference(gradient.Config(), model))
    with pytest.raises(ConfigurationError, match="use the Kalman filter"):
        exact.greedy_optimum(model, torch.zeros(2, 1, 2).double(), covariance="full")
    with pytest.raises(ConfigurationError, match="process_variance is no covariance"):
        lgssm.Model.from_matrices(
            dynamics=torch.eye(2),
            emission=torch.eye(2),
            initial_mean=torch.zeros(2),
            initial_variance=torch.ones(2),
            process_variance=torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
            noise_variance=torch.ones(2),
        )


def test_units_are_undone() -> None:
    """A model of standardised numbers says of natural ones what the same model in natural units says."""
    plain = System.random(2, 2, 1, timed=False, seed=5).model(torch.float64)
    scale, center = (2.0, 50.0), (-1.0, 1e3)
    sizes = {"observation_size": 2, "latent_size": 2, "input_size": 1}
    kinds = {"offsets": True, "covariance": "full", "decode_inputs": True}
    config = configure(lgssm.Config, {**sizes, **kinds, "center": center, "scale": scale})
    scaled = lgssm.Model(config).double()
    scaled.load_state_dict(plain.state_dict())
    xs, u = torch.randn(5, 1, 2, dtype=torch.float64), torch.ones(5, 1, 1, dtype=torch.float64)
    natural = torch.tensor(center).double() + torch.tensor(scale).double() * xs
    one, other = (filter_of(model) for model in (plain, scaled))
    _, ours = one.scan(one.initial(torch.tensor([1])), xs, inputs=u)
    _, theirs = other.scan(other.initial(torch.tensor([1])), natural, inputs=u)
    torch.testing.assert_close(ours.posterior.mean, theirs.posterior.mean)
    torch.testing.assert_close(ours.free_energy + np.log(100.0), theirs.free_energy)
