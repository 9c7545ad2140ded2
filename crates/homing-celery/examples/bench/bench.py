"""Tasks that do nothing, by homing and by a Celery prefork worker of 2, and how late parents of both wake.

    scripts/test celery-bench            or, with the programs at hand,
    venv/bin/python crates/homing-celery/examples/bench/bench.py target/release/examples/bench [ROUNDS] [MESSAGES]

Both run in turns, round by round, on one Redis server; homing's store is a SQLite file with every commit on the disk. A
round sends so many messages at once, and ends when the last result is stored. Medians, with the least and the most.
"""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery
from redis import Redis

HERE = Path(__file__).resolve().parent
URL = os.environ.get("BENCH_REDIS", "")

app = Celery("bench", broker=URL, backend=URL)
app.conf.update(
    task_routes={"h.*": {"queue": "homing"}},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=64,
)


@app.task(name="h.nothing")
def h_nothing():
    """homing's."""


@app.task(name="h.wakes")
def h_wakes(times):
    """homing's."""


@app.task(name="c.nothing")
def c_nothing():
    """Celery's own."""


@app.task(name="c.ended")
def c_ended():
    """When it ended."""
    return time.time()


def sent(redis, task, number):
    """So many messages of a task, sent by one command; brings how long it took until all have results."""
    redis.flushdb()
    queue = "homing" if task.name.startswith("h.") else "celery"
    # As a client writes them, but under a queue that nobody serves yet.
    with app.producer_pool.acquire(block=True) as producer:
        results = [task.apply_async(queue="held", producer=producer) for _ in range(number)]
    ids = [f"celery-task-meta-{result.id}" for result in results]
    start = time.monotonic()
    redis.rename("held", queue)
    at = 0
    while at < number:
        # The last that was sent is among the last to end.
        if all(redis.mget(ids[at:at + 500])):
            at += 500
        else:
            time.sleep(0.005)
    return number / (time.monotonic() - start)


def wakes(times):
    """How late a client of Celery's and a parent of homing's hear of an end in Celery, in milliseconds."""
    own = []
    for _ in range(times):
        ended = c_ended.delay().get(timeout=30)
        own.append((time.time() - ended) * 1000)
    homing = [late * 1000 for late in h_wakes.delay(times).get(timeout=60)]
    return own, homing


def shown(values, form):
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({least:{form}} to {most:{form}})"


def main():
    program, rounds, number = Path(sys.argv[1]).resolve(), *(int(n) for n in (sys.argv[2:] + ["5", "2000"][len(sys.argv) - 2:]))
    folder = Path(tempfile.mkdtemp(prefix="homing-celery-bench-"))
    redis, running = Redis.from_url(URL), []
    env = os.environ | {"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}

    def start(name, command):
        log = open(folder / f"{name}.log", "wb")
        running.append(subprocess.Popen(
            [str(word) for word in command], env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True))

    try:
        start("redis", ["redis-server", "--port", URL.split(":")[2].split("/")[0], "--save", "", "--dir", folder])
        while True:
            try:
                redis.ping()
                break
            except Exception:
                time.sleep(0.05)
        start("homing", [program, f"sqlite:{folder}/jobs.db", URL])
        start("celery", [sys.executable, "-m", "celery", "-A", "bench", "worker", "-l", "ERROR", "-c", "2",
                         "--without-gossip", "--without-mingle", "--without-heartbeat"])
        c_nothing.delay().get(timeout=60), h_nothing.delay().get(timeout=60)
        celery, homing, ratios = [], [], []
        for _ in range(rounds):
            celery.append(sent(redis, c_nothing, number))
            homing.append(sent(redis, h_nothing, number))
            ratios.append(homing[-1] / celery[-1])
        print(f"tasks that do nothing, {rounds} rounds of {number} messages in turns, ended a second")
        print(f"  Celery, prefork of 2  {shown(celery, '.0f')}")
        print(f"  homing                {shown(homing, '.0f')}")
        print(f"  homing to Celery      {shown(ratios, '.1f')}")
        own, parents = wakes(50)
        print("after the end of a task in Celery, milliseconds")
        print(f"  a client's get()      {shown(own, '.1f')}")
        print(f"  a parent in homing    {shown(parents, '.1f')}", flush=True)
    finally:
        for process in running[::-1]:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not URL:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"BENCH_REDIS": f"redis://127.0.0.1:{port}/0"})
    main()
