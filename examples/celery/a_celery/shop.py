"""A Celery application as many are: an import whose pages show only while it runs, and a parent that polls for them.

    celery -A shop worker --concurrency 4
    python -c "import shop; print(shop.import_feed.delay('spring', 12).get())"

`SHOP_REDIS` is broker and result backend. The next steps of its migration stand beside it, in `b_parent` and `c_children`:
`diff a_celery/shop.py b_parent/shop.py` shows all that changes in Celery.
"""

import os
import time

from celery import Celery
from celery.result import AsyncResult, allow_join_result
from celery.utils.log import get_task_logger
from redis import Redis

URL = os.environ.get("SHOP_REDIS", "redis://127.0.0.1:6379/0")

app = Celery("shop", broker=URL, backend=URL)
app.conf.update(
    task_routes={},
    task_track_started=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
log = get_task_logger(__name__)


@app.task(name="shop.write_page")
def write_page(feed, page):
    """Writes a page: here it takes its time, and counts itself."""
    time.sleep(0.25)
    Redis.from_url(URL).incr(f"shop:writes:{feed}")
    return {"rows": 100, "ended": time.time()}


def start_page(feed, page):
    """A helper, some functions below the task."""
    return write_page.delay(feed, page).id


def fetch(feed, page, pages):
    """Fetches a page of the feed; nobody knows which is the last one until it has come."""
    time.sleep(0.02)
    return page + 1 if page < pages else None


@app.task(name="shop.import_feed")
def import_feed(feed, pages):
    """Starts a child for each page and polls until all have ended. It holds its worker's slot all the while."""
    children, page = [], 1
    while page is not None:
        children.append(start_page(feed, page))
        log.info("page %d of %s is on its way", page, feed)
        page = fetch(feed, page, pages)
    deadline = time.monotonic() + 300
    while not all(AsyncResult(id).ready() for id in children):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{feed}: the pages took too long")
        time.sleep(1)
    with allow_join_result():
        written = [AsyncResult(id).get() for id in children]
    rows, ended = sum(one["rows"] for one in written), max(one["ended"] for one in written)
    log.info("%s is imported, %d rows", feed, rows)
    return {"rows": rows, "late": time.time() - ended}
