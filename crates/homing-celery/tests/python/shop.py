"""The Celery application of the tests: `h.*` are homing's tasks, `c.*` are Celery's."""

import os
import time

from celery import Celery
from redis import Redis

URL = os.environ["SHOP_REDIS"]
RPC = os.environ.get("SHOP_RESULTS") == "rpc://"

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", URL), backend=os.environ.get("SHOP_RESULTS", URL))
app.conf.update(
    task_routes={"h.*": {"queue": "homing"}},
    task_default_queue="celery",
    broker_connection_retry_on_startup=True,
    task_track_started=True,
    result_expires=3600,
)
if os.environ.get("SHOP_QUEUE_TYPE") == "quorum":
    app.conf.update(task_default_queue_type="quorum", task_create_missing_queue_type="quorum")


if master := os.environ.get("SHOP_MASTER"):
    options = {"master_name": master}
    app.conf.update(broker_transport_options=options, result_backend_transport_options=options)


class PageGone(Exception):
    pass


# Homing's: here they are only names with signatures.
@app.task(name="h.add")
def h_add(x, y):
    raise NotImplementedError


@app.task(name="h.sum")
def h_sum(xs):
    raise NotImplementedError


@app.task(name="h.fail")
def h_fail(text):
    raise NotImplementedError


@app.task(name="h.park")
def h_park(name):
    raise NotImplementedError


@app.task(name="h.spin")
def h_spin():
    raise NotImplementedError


@app.task(name="h.nothing")
def h_nothing():
    raise NotImplementedError


@app.task(name="h.parent")
def h_parent(pages):
    raise NotImplementedError


@app.task(name="h.count")
def h_count(key):
    raise NotImplementedError


# Celery's own.
@app.task(name="c.add")
def c_add(x, y):
    return x + y


@app.task(name="c.sum")
def c_sum(xs):
    return sum(xs)


@app.task(name="c.fail")
def c_fail(text):
    raise PageGone(text, 7)


@app.task(name="c.sleep")
def c_sleep(seconds):
    time.sleep(seconds)
    return "slept"


@app.task(name="c.count")
def c_count(key):
    """How often it has run."""
    return Redis.from_url(URL).incr(f"test:{key}")


@app.task(name="c.errback")
def c_errback(failed):
    Redis.from_url(URL).rpush("test:errbacks", failed)
