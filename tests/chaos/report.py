"""Counts and times of an experiment, from what was recorded: one JSON object.

`recovery` is the time from a kill -9 of a server to the next acknowledged step of each session that had a connection to
it: a step that the killed server cannot have answered, since it was asked for after the kill or, where the SDK repeats
requests by itself, came `BUFFERED` seconds after it. Kills during which something else was wrong (Redis away, a server
stopped, connections that carry nothing) are left out: they are in `longest_outage_s`, the longest time that any session
went without an acknowledgement, whatever was wrong.
"""

import statistics
from collections import Counter, defaultdict
from typing import Any

from .checker import Findings, merge
from .faults import Fault, Faults
from .history import History, Reply

BUFFERED = 0.02  # seconds in which an answer that was on its way may still arrive
ELSEWHERE = 1.0  # seconds after another fault in which what follows may be its doing
ZEROS = "lost", "doubled", "wrong", "reordered", "silent_epochs", "faults", "late_drains"


def report(history: History, findings: dict[str, Findings], faults: Faults, *, seed: int) -> dict[str, Any]:
    """The object."""
    all_found = merge(findings.values())
    sessions = Counter(opened.durability for opened in history.sessions())
    recoveries = sorted(recovery(history, faults.log))
    return {
        "seed": seed,
        "kills": faults.count("kill"),
        "redis_kills": faults.count("redis_kill"),
        "stops": faults.count("stop", "redis_stop"),
        "drains": faults.count("drain"),
        "resets": faults.cluster.proxy.resets,
        "client_crashes": history.crashes,
        **_counts(all_found),
        "faults": sum(history.faults.values()),
        "late_drains": faults.late_drains,
        "recoveries": len(recoveries),
        "recovery_p50_s": _quantile(recoveries, 0.5),
        "recovery_p99_s": _quantile(recoveries, 0.99),
        "longest_outage_s": round(outage(history), 3),
        "sessions": sum(sessions.values()),
        "by_durability": {
            durability: {"sessions": sessions[durability]} | _counts(found) for durability, found in findings.items()
        },
    }


def passed(counts: dict[str, Any]) -> bool:
    """Whether every zero is one."""
    return not any(counts[name] for name in ZEROS)


def _counts(found: Findings) -> dict[str, int]:
    return {
        "acknowledged": found.acknowledged,
        "rolled_back": found.rolled_back,
        "lost": len(found.lost),
        "doubled": len(found.doubled),
        "wrong": len(found.wrong),
        "reordered": len(found.reordered),
        "silent_epochs": len(found.epochs),
    }


def recovery(history: History, log: list[Fault]) -> list[float]:
    """Seconds from each kill to the next step of each session that it cut off."""
    replies: dict[str, list[Reply]] = defaultdict(list)
    for event in history.events:
        if isinstance(event, Reply):
            replies[event.session].append(event)
    others = [fault for fault in log if fault.kind not in ("kill", "drain")]
    times = []
    for fault in log:
        for session in fault.sessions if fault.kind == "kill" else ():
            back = next((reply.at for reply in replies[session] if _after(reply, fault.at)), None)
            if back is None or any(o.at <= back and o.until + ELSEWHERE >= fault.at for o in others):
                continue
            times.append(back - fault.at)
    return times


def _after(reply: Reply, kill: float) -> bool:
    """Whether another server than the killed one has answered."""
    return reply.asked > kill or (reply.stream.startswith("sdk") and reply.at > kill + BUFFERED)


def outage(history: History) -> float:
    """The longest time that a session went without an acknowledgement while its client wanted one, in seconds."""
    last: dict[str, float] = {}
    worst = 0.0
    for event in history.events:
        if isinstance(event, Reply):
            worst = max(worst, event.at - last.get(event.session, event.at))
            last[event.session] = event.at
    return worst


def _quantile(ordered: list[float], level: float) -> float | None:
    """None where there are too few for one."""
    if len(ordered) < 2:
        return None
    return round(statistics.quantiles(ordered, n=100, method="inclusive")[round(level * 100) - 1], 3)
