"""Worlds in words: what tells one from the others that stand beside it."""

from collections.abc import Mapping

from .record import World


def places(worlds: Mapping[str, World]) -> dict[str, str]:
    """Worlds, by digest, in few words that tell them apart.

    The hardware, its threads and torch's version; what else differs where these are the same.
    """
    alike: dict[str, list[str]] = {}
    for name, world in worlds.items():
        alike.setdefault(_place(world), []).append(name)
    made = {}
    for words, names in alike.items():
        facts = {name: _facts(worlds[name]) for name in names}
        every = sorted({fact for one in facts.values() for fact in one})
        differ = [f for f in every if len({one.get(f) for one in facts.values()}) > 1]
        for name in names:
            made[name] = ", ".join([words, *(f"{f} {facts[name].get(f)}" for f in differ)])
    return made


def _place(world: World) -> str:
    count = world["threads"]
    threads = [] if count is None else [f"{count} thread{'s' if count > 1 else ''}"]
    return ", ".join([world["hardware"], *threads, f"torch {world['libraries'].get('torch')}"])


def _facts(world: World) -> dict[str, str]:
    return world["libraries"] | {
        "device": world["device"],
        "platform": world["platform"],
        "python": world["python"],
    }
