"""A clock that is wrong on purpose, for one process: offset by seconds, drifting by ppm.

A small library is built with the machine's C compiler and loaded before all others into a
producer (``LD_PRELOAD``). There the monotonic clock reads::

    skewed = true + offset + drift * (true - origin)

and waits until a moment on that clock are turned back, so that the program runs as ever. What
the Lab Streaming Layer measures between such a producer and a recorder is then a real measurement
of two clocks that disagree, over its real network protocol. Linux with glibc and a C compiler
only; :func:`why_no_skew` says what is missing.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physioemo.errors import StreamError

__all__ = ["ClockSkew", "build_library", "skewed_environment", "true_seconds", "why_no_skew"]

_COMPILERS = ("cc", "gcc", "clang")
_VARIABLES = ("PHYSIOEMO_SKEW_OFFSET", "PHYSIOEMO_SKEW_DRIFT", "PHYSIOEMO_SKEW_ORIGIN")

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double offset, drift, origin;
static int ready;

__attribute__((constructor)) static void read_skew(void) {
    const char *o = getenv("PHYSIOEMO_SKEW_OFFSET"), *d = getenv("PHYSIOEMO_SKEW_DRIFT");
    const char *t = getenv("PHYSIOEMO_SKEW_ORIGIN");
    if (o && d && t) { offset = atof(o); drift = atof(d); origin = atof(t); ready = 1; }
}

static int is_monotonic(clockid_t c) {
    return ready && (c == CLOCK_MONOTONIC || c == CLOCK_MONOTONIC_COARSE);
}

static struct timespec shifted(struct timespec t, double seconds) {
    long long n = t.tv_nsec + (long long)(seconds * 1e9);
    long long s = n / 1000000000LL;
    n -= s * 1000000000LL;
    if (n < 0) { n += 1000000000LL; s -= 1; }
    t.tv_sec += s; t.tv_nsec = n;
    return t;
}

static double difference(struct timespec a, struct timespec b) {
    return (double)(a.tv_sec - b.tv_sec) + 1e-9 * (double)(a.tv_nsec - b.tv_nsec);
}

static struct timespec now_true(clockid_t c) {
    struct timespec t;
    syscall(SYS_clock_gettime, c, &t);
    return t;
}

static struct timespec to_skewed(struct timespec t) {
    double since = (double)t.tv_sec + 1e-9 * t.tv_nsec - origin;
    return shifted(t, offset + drift * since);
}

/* A moment on the skewed clock as a moment on the true one. */
static struct timespec to_true(const struct timespec *deadline) {
    struct timespec t = now_true(CLOCK_MONOTONIC);
    return shifted(t, difference(*deadline, to_skewed(t)) / (1.0 + drift));
}

int clock_gettime(clockid_t c, struct timespec *t) {
    long r = syscall(SYS_clock_gettime, c, t);
    if (r == 0 && is_monotonic(c)) *t = to_skewed(*t);
    return (int)r;
}

int clock_nanosleep(clockid_t c, int flags, const struct timespec *t, struct timespec *left) {
    struct timespec real = *t;
    if (is_monotonic(c) && (flags & TIMER_ABSTIME)) real = to_true(t);
    return syscall(SYS_clock_nanosleep, c, flags, &real, left) == 0 ? 0 : errno;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int pthread_cond_clockwait(pthread_cond_t *v, pthread_mutex_t *m, clockid_t c,
                           const struct timespec *t) {
    static __typeof__(&pthread_cond_clockwait) next;
    struct timespec real = *t;
    if (!next) next = NEXT(pthread_cond_clockwait);
    if (is_monotonic(c)) real = to_true(t);
    return next(v, m, c, &real);
}

int pthread_cond_timedwait(pthread_cond_t *v, pthread_mutex_t *m, const struct timespec *t) {
    static __typeof__(&pthread_cond_timedwait) next;
    struct timespec real = *t;
    if (!next) next = NEXT(pthread_cond_timedwait);
    /* The condition's own clock cannot be asked: a moment decades before today's date is
       monotonic. */
    if (ready && now_true(CLOCK_REALTIME).tv_sec - t->tv_sec > 600000000) real = to_true(t);
    return next(v, m, &real);
}

int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t c, const struct timespec *t) {
    static __typeof__(&pthread_mutex_clocklock) next;
    struct timespec real = *t;
    if (!next) next = NEXT(pthread_mutex_clocklock);
    if (is_monotonic(c)) real = to_true(t);
    return next(m, c, &real);
}

int sem_clockwait(sem_t *s, clockid_t c, const struct timespec *t) {
    static __typeof__(&sem_clockwait) next;
    struct timespec real = *t;
    if (!next) next = NEXT(sem_clockwait);
    if (is_monotonic(c)) real = to_true(t);
    return next(s, c, &real);
}
"""


@dataclass(frozen=True)
class ClockSkew:
    """How a clock is wrong.

    Parameters
    ----------
    offset_seconds : float
        Ahead of the true clock at the origin.
    drift_ppm : float
        Runs this many parts per million too fast.
    """

    offset_seconds: float = 0.0
    drift_ppm: float = 0.0

    def read(self, true: Any, origin: float) -> Any:
        """Return what this clock shows at true moments (a number or an array), in seconds."""
        return true + self.offset_seconds + 1e-6 * self.drift_ppm * (true - origin)


def true_seconds() -> float:
    """Return the computer's own monotonic clock, which is LSL's here where nothing is skewed."""
    if sys.platform == "win32":
        return time.perf_counter()  # time.monotonic() is another clock there, of 16 ms steps
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def why_no_skew() -> str:
    """Return what keeps this computer from skewing clocks; empty if nothing does."""
    if not sys.platform.startswith("linux"):
        return f"clocks can be skewed on Linux only, found {sys.platform}"
    if not _compiler():
        return f"found no C compiler, expected one of {', '.join(_COMPILERS)}"
    return ""


def _compiler() -> str | None:
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)


def build_library(folder: Path) -> Path:
    """Build the library that skews clocks.

    Raises
    ------
    StreamError
        If it cannot be built here.
    """
    source, library = folder / "skewed_clock.c", folder / "skewed_clock.so"
    source.write_text(_SOURCE, encoding="utf-8")
    command = [_compiler() or "cc", "-O2", "-fPIC", "-shared", "-o", str(library), str(source)]
    done = subprocess.run([*command, "-ldl", "-lm"], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise StreamError(
            f"found that the skewed clock cannot be built ({first}), expected glibc 2.34 or later "
            "and its headers; install them, or run with --no-skew"
        )
    return library


def skewed_environment(library: Path, skew: ClockSkew, origin: float) -> dict[str, str]:
    """Return this process's environment with a clock that is wrong.

    Parameters
    ----------
    library : Path
        From :func:`build_library`.
    skew : ClockSkew
        How the clock is wrong.
    origin : float
        True seconds at which the drift begins.
    """
    values = (skew.offset_seconds, 1e-6 * skew.drift_ppm, origin)
    before = os.environ.get("LD_PRELOAD", "")
    return {
        **os.environ,
        **{name: repr(value) for name, value in zip(_VARIABLES, values, strict=True)},
        "LD_PRELOAD": f"{library} {before}".strip(),
    }
