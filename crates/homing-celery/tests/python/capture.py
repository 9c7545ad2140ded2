"""What a client, a worker and `celery inspect` of one version put on Redis: one line of JSON for each, to be kept as a
fixture. Usage: SHOP_REDIS=redis://... python capture.py > ../fixtures/celery-VERSION.jsonl (a Celery worker runs)."""

import json
import os
import sys
import time

from celery import chain, chord, group
from redis import Redis

from shop import URL, app, c_add, c_fail, c_sleep, h_add, h_fail, h_sum

redis = Redis.from_url(URL)


def told(what, name, raw):
    text = raw.decode().replace(sys.prefix, "/venv").replace(os.getcwd(), "/shop")
    print(json.dumps({"what": what, "name": name, "text": text}), flush=True)


def sent(name, send):
    send()
    for suffix in ["", "\x06\x163", "\x06\x166", "\x06\x169"]:
        while raw := redis.rpop("homing" + suffix):
            told("message", name, raw)


heard = redis.pubsub()
heard.psubscribe("/0.celery.pidbox", "/0.celeryev/*", "celery-task-meta-*")

sent("delay", lambda: h_add.delay(1, y=2))
sent("send_task", lambda: app.send_task("h.add", (1, {"k": [None, True, 1.5, "ü\n"]})))
sent("options", lambda: h_add.apply_async(
    (1, 2), countdown=10, expires=60, priority=6, time_limit=30, soft_time_limit=20, link=h_add.s(5),
    link_error=[h_sum.s(), h_fail.si("x")], headers={"tenant": "a"}, shadow="shown", ignore_result=True))
sent("chain", lambda: chain(h_add.s(1, 2), h_add.s(3), h_add.si(4, 5)).apply_async())
sent("chord", lambda: chord([h_add.s(1, 2), h_add.s(3, 4)], h_sum.s()).apply_async())
sent("group", lambda: group(h_add.s(1, 2), h_add.s(3, 4)).apply_async())
sent("chain into group", lambda: chain(h_add.s(1, 2), group(h_add.s(3), c_add.s(4)), h_sum.s()).apply_async())
sent("stamped", lambda: h_add.si(1, 2).stamp(stamp="v").apply_async() if hasattr(h_add.si(1, 2), "stamp") else None)
sent("pickle", lambda: h_add.apply_async((1, 2), serializer="pickle"))
sent("compressed", lambda: h_add.apply_async((1, 2), compression="gzip"))

for result in [c_add.delay(1, 2), c_fail.delay("gone"), chain(c_add.s(1, 2), c_add.s(3)).apply_async()]:
    try:
        result.get(timeout=20)
    except Exception:
        pass
app.control.revoke("some-id", terminate=True, signal="SIGKILL")
app.control.inspect(timeout=1).ping()
app.control.inspect(timeout=1, destination=["homing@test"]).registered()
app.control.inspect(timeout=1, pattern="homing@*", matcher="glob").stats()
app.control.enable_events()
time.sleep(0.5)
slow = c_sleep.delay(0)
slow.get(timeout=20)
time.sleep(2.5)
while message := heard.get_message(timeout=0.2):
    if message["type"] == "pmessage":
        channel = message["channel"].decode()
        what = "result" if "meta" in channel else "command" if "pidbox" in channel else "event"
        told(what, channel.replace(channel[channel.find("meta-"):], "meta") if what == "result" else channel, message["data"])
