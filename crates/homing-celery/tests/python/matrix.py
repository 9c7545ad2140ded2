"""What unmodified clients of Celery see of homing's tasks: one line of JSON for each case, its name and what came."""

import json
import sys
import threading
import time
import traceback
import uuid

from celery import chain, chord, group
from celery.result import AsyncResult
from redis import Redis

from shop import (
    RPC, URL, app, c_add, c_errback, c_sum, h_add, h_fail, h_nothing, h_park, h_parent, h_spin, h_sum,
)

T = 30
redis = Redis.from_url(URL)


def raised(result):
    """The class and the arguments of what a client raises."""
    try:
        return ["no error", result.get(timeout=T)]
    except Exception as error:
        return [type(error).__name__, [str(arg) for arg in error.args]]


def until(look):
    """What `look` brings once it brings something, or None: a bound on a hang, not a measure."""
    for _ in range(T * 20):
        found = look()
        if found:
            return found
        time.sleep(0.05)
    return None


def get():
    result = h_add.delay(1, y=2)
    return [result.get(timeout=T), result.state, result.children]


def failure():
    result = h_fail.delay("no such page")
    return raised(result) + [result.state, "h.fail" in (result.traceback or "")]


def type_error():
    calls = [((1, 2, 3), {}), ((1,), {}), ((1,), {"z": 2}), ((1, 2), {"x": 1}), (("one", 2), {})]
    return [raised(app.send_task("h.add", args, kwargs))[0] for args, kwargs in calls]


def ignored():
    result = h_add.apply_async((1, 2), ignore_result=True)
    after = h_add.delay(0, 0)
    after.get(timeout=T)
    return redis.get("celery-task-meta-" + result.id)


def chain_homing_only():
    return chain(h_add.s(1, 2), h_add.s(3), h_add.s(4)).apply_async().get(timeout=T)


def chain_mixed():
    return chain(c_add.s(1, 2), h_add.s(3), c_add.s(4), h_add.s(5)).apply_async().get(timeout=T)


def chain_children():
    last = chain(h_add.s(1, 2), c_add.s(3)).apply_async()
    # What follows is sent before the result is stored, and may end before it.
    last.parent.get(timeout=T)
    return [child.id == last.id for child in last.parent.children]


def chain_failing():
    last = chain(h_add.s(1, 2), h_fail.si("half way"), c_add.s(4)).apply_async()
    return raised(last)[:1] + [until(lambda: last.state == "FAILURE")]


def chord_members():
    return chord([h_add.s(1, 2), c_add.s(3, 4), h_add.s(5, 6)], c_sum.s()).apply_async().get(timeout=T)


def chord_body():
    return chord([c_add.s(1, 2), c_add.s(3, 4)], h_sum.s()).apply_async().get(timeout=T)


def chord_all():
    return chord([h_add.s(n, n) for n in range(5)], h_sum.s()).apply_async().get(timeout=T)


def chord_failing():
    body = chord([h_add.s(1, 2), h_fail.s("a member"), c_add.s(1, 1)], c_sum.s()).apply_async()
    until(lambda: body.state == "FAILURE")
    return [body.state, type(body.result).__name__, "a member" in str(body.result)]


def chord_failing_last():
    """The failing member is homing's, and the last to come."""
    body = chord([c_add.s(1, 2), h_fail.s("at last").set(countdown=1)], h_sum.s()).apply_async()
    until(lambda: body.state == "FAILURE")
    return [body.state, type(body.result).__name__]


def groups():
    return group(h_add.s(1, 2), c_add.s(3, 4), h_add.s(5, 6)).apply_async().get(timeout=T)


def chain_into_group():
    work = chain(h_add.s(1, 2), group(h_add.s(10), c_add.s(20)), c_sum.s())
    return work.apply_async().get(timeout=T)


def chain_ending_in_group():
    return chain(h_add.s(1, 2), group(h_add.s(10), c_add.s(20))).apply_async().get(timeout=T)


def link():
    result = h_add.apply_async((1, 2), link=[c_add.s(10), h_add.s(20)])
    result.get(timeout=T)
    return [child.get(timeout=T) for child in result.children]


def link_error():
    result = h_fail.apply_async(("linked",), link_error=c_errback.s())
    raised(result)
    until(lambda: redis.lrange("test:errbacks", 0, -1))
    return [one.decode() == result.id for one in redis.lrange("test:errbacks", 0, -1)]


def priority():
    results = [h_add.apply_async((n, 0), priority=n) for n in (9, 6, 3, 0)]
    return [result.get(timeout=T) for result in results]


def countdown():
    return h_add.apply_async((1, 2), countdown=0.5).get(timeout=T)


def expired():
    result = h_add.apply_async((1, 2), countdown=1.5, expires=1)
    return raised(result) + [result.state]


def time_limit():
    result = h_spin.apply_async(time_limit=1)
    return raised(result)[:1] + [result.state]


def revoke_running():
    result = h_park.delay("never")
    if RPC:
        # A client that has once waited for a result hears of no other state.
        answers = app.control.inspect(timeout=5, destination=["homing@test"])
        until(lambda: result.id in [task["id"] for task in answers.active()["homing@test"]])
    else:
        until(lambda: result.state == "STARTED")
    result.revoke()
    return raised(result) + [result.state]


def revoke_before():
    result = h_add.apply_async((1, 2), countdown=3600)
    until(lambda: redis.zscore("homing:celery:in", "0#" + result.id))
    result.revoke()
    return raised(result) + [result.state]


def revoke_unknown():
    """Revoked before it was sent."""
    id = str(uuid.uuid4())
    app.control.revoke(id)
    until(lambda: redis.exists("homing:revoked:" + id))
    result = h_add.apply_async((1, 2), task_id=id)
    return raised(result) + [result.state]


def not_registered():
    return raised(h_nothing.delay())


def inspect():
    answers = app.control.inspect(timeout=20, destination=["homing@test"])
    registered = answers.registered()["homing@test"]
    return [answers.ping(), [queue["name"] for queue in answers.active_queues()["homing@test"]],
            "h.add" in registered, "homing.celery.entry" in registered,
            answers.stats()["homing@test"]["total"]["h.add"] > 0, answers.active()["homing@test"] == [],
            app.control.broadcast("shutdown", reply=True, timeout=20, destination=["homing@test"])]


def pickled():
    return [raised(h_add.apply_async((1, 2), serializer="pickle"))[0],
            raised(h_add.apply_async((1, 2), compression="gzip"))[0]]


def large():
    return raised(h_add.apply_async(("x" * 2_000_000, 2)))[0]


def parent():
    """Homing's parent, called by Celery's client, with children in Celery."""
    return h_parent.delay(4).get(timeout=T)


def events():
    seen, ready, id = [], threading.Event(), str(uuid.uuid4())

    def hear():
        with app.connection_for_read() as connection:
            def on_event(event):
                if event["type"] == "worker-heartbeat":
                    ready.set()
                if event.get("uuid") == id:
                    seen.append(event["type"])
                if event.get("uuid") == id and event["type"] == "task-succeeded":
                    receiver.should_stop = True
            receiver = app.events.Receiver(connection, handlers={"*": on_event})
            try:
                receiver.capture(limit=None, timeout=T, wakeup=False)
            except Exception:
                seen.append(traceback.format_exc())

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    ready.wait(T)
    h_add.apply_async((1, 2), task_id=id).get(timeout=T)
    thread.join(T)
    return seen


CASES = [
    get, failure, type_error, ignored, chain_homing_only, chain_mixed, chain_children, chain_failing,
    chord_members, chord_body, chord_all, chord_failing, chord_failing_last, groups, chain_into_group,
    chain_ending_in_group, link, link_error, priority, countdown, expired, time_limit, revoke_running,
    revoke_before, revoke_unknown, not_registered, inspect, pickled, large, parent, events,
]

wanted = sys.argv[1:]
for case in CASES:
    if wanted and case.__name__ not in wanted:
        continue
    start = time.monotonic()
    try:
        came = case()
    except Exception:
        came = traceback.format_exc()
    print(json.dumps([case.__name__, came]), flush=True)
    print(f"{case.__name__}: {time.monotonic() - start:.2f} s", file=sys.stderr)
