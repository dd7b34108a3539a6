"""Acting on beliefs: from an environment of yours to a filter that has learned it, to an agent that acts on the filter.

    python examples/act_on_beliefs.py                        CartPole, whose velocities are hidden: one agent on beliefs
    python examples/act_on_beliefs.py --table --seeds 5      both tasks, and agents that see other things, to compare

1. `Hidden` is the environment: of CartPole, or Pendulum, only positions are seen, and these with noise.
2. `rollouts` plays it, more or less at random, and keeps what was seen and what was done.
3. `fit` learns a linear Gaussian model with the actions as inputs. The free energy of its `kalman` filter is -log p(x)
   itself, so that to lower it is maximum likelihood.
4. `BeliefVecEnv` shows PPO of stable-baselines3 the filter's belief (extras `core` and `sb3`; sb3-contrib for the
   recurrent agent that it is compared with).

Every run of the table is a file in the folder of --results, and is not made again.
"""

import argparse
import itertools
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from avf_client.gym.sb3 import BeliefVecEnv
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack

from avf_core import Filter, build, checkpoints
from avf_core.models import lgssm

Array = NDArray[np.float32]
SEES = ("observation", "4 frames", "4 frames, actions", "recurrent", "belief", "full state")
ENVIRONMENTS, FRAMES, EVALUATED = 8, 4, 24  # environments at once, frames of a stack, episodes that score an agent


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment with hidden velocities, and how PPO learns in it: the same for whatever an agent sees.

    seen, scale, noise  which of the environment's numbers are seen, divided by this, with noise of this deviation
    derivatives         of each number that is seen, that the filter begins with
    steps, options      of PPO
    """

    env: str
    seen: tuple[int, ...]
    scale: tuple[float, ...]
    noise: float
    derivatives: int
    steps: int
    options: dict[str, Any] = field(default_factory=dict)


TASKS = {
    "cartpole": Task(
        env="CartPole-v1",
        seen=(0, 2),
        scale=(0.5, 0.1),
        noise=0.02,
        derivatives=1,
        steps=50_000,
        options={"n_steps": 128, "batch_size": 256, "n_epochs": 6, "gamma": 0.98},
    ),
    "pendulum": Task(
        env="Pendulum-v1",
        seen=(0, 1),
        scale=(1.0, 1.0),
        noise=0.05,
        derivatives=2,
        steps=80_000,
        options={"n_steps": 128, "batch_size": 128, "n_epochs": 8, "gamma": 0.9, "use_sde": True, "sde_sample_freq": 4},
    ),
}


class Hidden(gymnasium.Wrapper[Any, Any, Any, Any]):
    """What is seen of the environment of a task; all of it, and without noise, where `full`; the last action, too."""

    def __init__(self, task: Task, *, full: bool = False, with_action: bool = False) -> None:
        super().__init__(gymnasium.make(task.env))
        self._task, self._full, self._with_action = task, full, with_action
        size = gymnasium.spaces.flatdim(self.env.observation_space) if full else len(task.seen)
        size += gymnasium.spaces.flatdim(self.env.action_space) if with_action else 0
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(**options)
        return self._shown(observation, None), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._shown(observation, action), reward, terminated, truncated, info

    def _shown(self, observation: Any, action: Any) -> Array:
        shown = np.asarray(observation)
        if not self._full:
            noise = self._task.noise * self.np_random.standard_normal(len(self._task.seen))
            shown = shown[list(self._task.seen)] / self._task.scale + noise
        if self._with_action:
            shown = np.concatenate([shown, told(self.env.action_space, action)])
        return shown.astype(np.float32)


def told(space: gymnasium.Space[Any], action: Any) -> Array:
    """An action as a model's inputs: one-hot where it is discrete; zeros where nothing was done."""
    if action is None:
        return np.zeros(gymnasium.spaces.flatdim(space), dtype=np.float32)
    return np.asarray(gymnasium.spaces.flatten(space, action), dtype=np.float32)


def rollouts(task: Task, *, episodes: int, steps: int, seed: int) -> tuple[Array, Array]:
    """What was seen (steps, episodes, D), NaN once an episode has ended, and what was done before it, zeros then.

    The actions are random, and half of the time those of the step before are kept up; of CartPole, every other one
    pushes to the side that the pole leans to, so that it stays up for a while.
    """
    generator = np.random.default_rng(seed)
    env = Hidden(task)
    size = gymnasium.spaces.flatdim(env.action_space)
    xs = np.full((steps, episodes, len(task.seen)), np.nan, dtype=np.float32)
    inputs = np.zeros((steps, episodes, size), dtype=np.float32)
    env.action_space.seed(seed)
    for episode in range(episodes):
        xs[0, episode], _ = env.reset(seed=1_000_000 * seed + episode)
        action = env.action_space.sample()
        for step in range(1, steps):
            if task.env == "CartPole-v1" and generator.random() < 0.5:
                action = int(xs[step - 1, episode, 1] > 0.0)
            elif generator.random() < 0.5:
                action = env.action_space.sample()
            xs[step, episode], _, terminated, truncated, _ = env.step(action)
            inputs[step, episode] = told(env.action_space, action)
            if terminated or truncated:
                break
    return xs, inputs


def fit(task: Task, folder: Path, *, episodes: int, updates: int) -> float:
    """Learn a filter from rollouts, and save it in the folder; its free energy on others, in nats a step.

    It begins with what is known of any mechanics: each position has derivatives, as many as the task says, and each of
    these moves by the next; all else is learned but the coordinates: the first of the latent are what is seen, less its
    noise, so that an agent hears numbers of a size that it can learn from.
    """
    xs, inputs = rollouts(task, episodes=episodes, steps=80, seed=1)
    size, actions = xs.shape[-1], inputs.shape[-1]
    latent = (1 + task.derivatives) * size
    settings = {
        "model": {"kind": "lgssm", "latent_size": latent, "observation_size": size, "input_size": actions},
        "inference": {"kind": "kalman"},
    }
    filter = build(settings)
    assert isinstance(filter.model, lgssm.Model)
    with torch.no_grad():
        filter.model.dynamics.copy_(torch.eye(latent) + 0.2 * torch.diag(torch.ones(latent - size), size))
        filter.model.emission.copy_(torch.eye(size, latent)).requires_grad_(False)
        for log_variance in (filter.model.process_log_variance, filter.model.noise_log_variance):
            log_variance.fill_(-4.0)
    optimizer = torch.optim.Adam(filter.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    generator = np.random.default_rng(2)
    for update in range(updates):
        rows = generator.integers(0, episodes, min(64, episodes))
        energy = free_energy(filter, xs[:60, rows], inputs[:60, rows])
        optimizer.zero_grad()
        energy.backward()
        torch.nn.utils.clip_grad_norm_(filter.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        if not update % 50:
            print(f"update {update}: {energy.item():.3f} nats a step", file=sys.stderr)
    with torch.no_grad():
        held_out = free_energy(filter, *rollouts(task, episodes=64, steps=80, seed=2)).item()
    facts = {"task": task.env, "free_energy": held_out}
    checkpoints.save(folder, filter=filter, settings=settings, card=facts)
    return held_out


def free_energy(filter: Filter, xs: Array, inputs: Array) -> torch.Tensor:
    """-log p(x_t | x_<t, u_<=t), the mean of all steps that were seen, in nats."""
    x = torch.from_numpy(xs)
    observed = ~x.isnan()
    seeds = torch.zeros(x.shape[1], dtype=torch.int64)
    _, estimates = filter.scan(filter.initial(seeds), x, observed=observed, inputs=torch.from_numpy(inputs))
    return estimates.free_energy.sum() / observed.any(-1).sum()


def environments(task: Task, sees: str, folder: Path, *, seed: int, count: int = ENVIRONMENTS) -> VecEnv:
    """Environments of a task that show an agent what it is to see."""

    def make() -> gymnasium.Env[Any, Any]:
        return Monitor(Hidden(task, full=sees == "full state", with_action=sees == "4 frames, actions"))

    envs: VecEnv = DummyVecEnv([make] * count)
    if sees.startswith("4 frames"):
        envs = VecFrameStack(envs, FRAMES)
    if sees == "belief":
        envs = BeliefVecEnv(envs, folder, features=("posterior_mean", "observation"))
    envs.seed(seed)
    return envs


def learn(task: Task, sees: str, folder: Path, *, seed: int, steps: int) -> list[float]:
    """Let an agent learn from what it sees; its returns in episodes that it has not met."""
    envs = environments(task, sees, folder, seed=100 * seed)
    options = {"learning_rate": lambda left: 1e-3 * left, "seed": seed, "device": "cpu", **task.options}
    if sees == "recurrent":
        from sb3_contrib import RecurrentPPO

        agent: Any = RecurrentPPO("MlpLstmPolicy", envs, policy_kwargs={"lstm_hidden_size": 64}, **options)
    else:
        agent = PPO("MlpPolicy", envs, **options)
    agent.learn(steps)
    others = environments(task, sees, folder, seed=999_000 + seed)
    returns, _ = evaluate_policy(agent, others, n_eval_episodes=EVALUATED, return_episode_rewards=True)
    envs.close()
    others.close()
    return [float(each) for each in returns]


def record(name: str, sees: str, results: Path, *, seed: int, steps: int | None) -> dict[str, Any]:
    """One run of the table: read, where it was made before."""
    path = results / f"{name}-{sees.replace(', ', '-').replace(' ', '-')}-{seed}.json"
    if not path.exists():
        began, task = time.process_time(), TASKS[name]
        count = steps or task.steps
        returns = learn(task, sees, results / name, seed=seed, steps=count)
        made = {"task": name, "sees": sees, "seed": seed, "steps": count, "mean": float(np.mean(returns))}
        made |= {"returns": returns, "seconds": round(time.process_time() - began, 1)}
        path.write_text(json.dumps(made))
    found: dict[str, Any] = json.loads(path.read_text())
    print(f"{name}, {sees}, seed {seed}: return {found['mean']:.1f} in {found['seconds']} s", file=sys.stderr)
    return found


def table(runs: list[dict[str, Any]]) -> str:
    """Mean return over seeds, with its standard error, and the least and the best of them."""
    lines = ["| task | an agent sees | seeds | return | least | best |", "|---|---|---|---|---|---|"]
    for name, sees in dict.fromkeys((run["task"], run["sees"]) for run in runs):
        means = np.array([run["mean"] for run in runs if (run["task"], run["sees"]) == (name, sees)])
        error = f" ± {means.std(ddof=1) / np.sqrt(len(means)):.0f}" if len(means) > 1 else ""
        shown = f"{means.mean():.0f}{error} | {means.min():.0f} | {means.max():.0f}"
        lines.append(f"| {TASKS[name].env} | {sees} | {len(means)} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Fit what is not fitted yet, let agents learn, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", choices=list(TASKS), help="one task only")
    parser.add_argument("--sees", choices=SEES, help="what the agent sees; its belief where absent")
    parser.add_argument("--table", action="store_true", help="all that an agent may see, as a table")
    parser.add_argument("--seeds", type=int, default=1, help="how many agents of each")
    parser.add_argument("--steps", type=int, help="that an agent learns from; the task's own where absent")
    parser.add_argument("--episodes", type=int, default=256, help="that the filter learns from")
    parser.add_argument("--updates", type=int, default=300, help="of the filter's parameters")
    parser.add_argument("--results", type=Path, default=Path("act_on_beliefs"), help="folder of filters and runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options.results.mkdir(parents=True, exist_ok=True)
    names = [options.task] if options.task else (list(TASKS) if options.table else ["cartpole"])
    seen = [options.sees] if options.sees else (list(SEES) if options.table else ["belief"])
    for name in names:
        if not (options.results / name).exists():
            energy = fit(TASKS[name], options.results / name, episodes=options.episodes, updates=options.updates)
            print(f"{name}: the filter expects what it has not met at {energy:.3f} nats a step", file=sys.stderr)
    every = itertools.product(range(options.seeds), names, seen)
    wanted = sorted(every, key=lambda run: run[2] == "recurrent")  # these are slow, and come last
    found = [record(name, sees, options.results, seed=seed, steps=options.steps) for seed, name, sees in wanted]
    runs = sorted(found, key=lambda run: (names.index(run["task"]), seen.index(run["sees"])))
    (options.results / "table.json").write_text(json.dumps(runs, indent=1))
    (options.results / "table.md").write_text(table(runs) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
