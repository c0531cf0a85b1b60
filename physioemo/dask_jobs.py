"""Independent jobs on the workers of a dask cluster, here or in the lab."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from physioemo.errors import CallError, MissingExtraError

__all__ = ["run_on_dask"]

JobType = TypeVar("JobType")
_RETRIES = 3


def run_on_dask(
    work: Callable[[JobType], Any],
    jobs_to_do: Sequence[JobType],
    names: Sequence[str],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
) -> Iterator[Any]:
    """Yield what each job returns, in the order in which they end.

    A worker that dies costs the job that it was doing, which another does again: a job must be
    able to be done twice.

    Parameters
    ----------
    work : callable
        ``work(job)``; it and the jobs can be pickled.
    jobs_to_do : sequence
        The jobs.
    names : sequence of str
        One name each, all different.
    jobs : int
        Processes of a cluster on this computer.
    scheduler : str, optional
        Address of a running scheduler instead, such as ``tcp://host:8786``.

    Raises
    ------
    MissingExtraError
        If dask.distributed is not installed.
    CallError
        If there is no scheduler at the address.
    """
    distributed = _distributed()
    with _client(distributed, jobs, scheduler) as client:
        futures = client.map(work, list(jobs_to_do), key=list(names), pure=False, retries=_RETRIES)
        for future in distributed.as_completed(futures):
            yield future.result()


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            "found no dask.distributed, expected it for --jobs and --scheduler; install it with "
            "pip install 'physioemo[distributed]', or use --jobs 1"
        ) from error
    return distributed


def _client(distributed: Any, jobs: int, scheduler: str | None) -> Any:
    if scheduler:
        try:
            return distributed.Client(scheduler, timeout="10s")
        except (OSError, TimeoutError, ValueError) as error:
            raise CallError(
                f"found no dask scheduler at {scheduler!r} ({error}), expected an address such as "
                "tcp://host:8786; start one with 'dask scheduler', or use --jobs"
            ) from error
    return distributed.Client(
        n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None
    )
