"""Makes a feature store of a small fixture, in processes that tests kill."""

import multiprocessing
from pathlib import Path

from physioemo.datasets.catalogue import dataset
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess


def sources(name, folder):
    row = dataset(name)
    return row.sources(row.locate(folder), **row.small_read)


def build(name, folder, out, features):
    recipe = PreprocessRecipe(features=features)
    preprocess(sources(name, Path(folder)), out, recipe, dataset=name)


def start_build(*arguments):
    """Start :func:`build` in a process of its own, quickly where the system can fork."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["scipy.signal", "xarray", "zarr", __name__])
    else:
        context = multiprocessing.get_context("spawn")
    process = context.Process(target=build, args=arguments)
    process.start()
    return process
