"""Workflows during which the bridge dies: what came of each, and how often each Celery task ran. Argument: a word that
keeps the counts apart."""

import json
import sys

from celery import chain, chord
from redis import Redis

from shop import URL, app, c_count, h_add, h_fail, h_count

T = 60
word = sys.argv[1]


def once(name):
    return c_count.si(f"{word}:{name}")


def came(result):
    try:
        return result.get(timeout=T)
    except Exception as error:
        return type(error).__name__


linked = h_add.apply_async((1, 2), link=once("link"))
results = {
    "chain": chain(h_add.s(1, 2), h_add.s(3), once("next")).apply_async(),
    "chord": chord([h_add.s(1, 2), h_add.s(3, 4)], once("body")).apply_async(),
    "failing chord": chord([h_add.s(1, 2), h_fail.si("x")], once("never")).apply_async(),
    "failure": h_fail.apply_async(("x",), link_error=once("errback")),
    "link": linked,
    "parent": h_count.delay(f"{word}:child"),
}
print(json.dumps({name: came(result) for name, result in results.items()}))
T = 20
print(json.dumps([came(child) for child in linked.children]))
