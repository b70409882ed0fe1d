"""`drawnet data` and `drawnet models`: what is there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from drawnet.cli.arguments import parse
from drawnet.cli.progress import progress_bar


@dataclass(frozen=True)
class DataOptions:
    """List the data sets, or get one into the cache folder.

    Attributes:
        action: list, or get.
        name: with get: which data set.
        json: with list: one JSON object instead of a table.
    """

    action: tyro.conf.Positional[Literal["list", "get"]]
    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = None
    json: bool = False


def data(arguments: list[str]) -> int:
    """Run `drawnet data`."""
    options = parse(DataOptions, arguments, "drawnet data")

    from drawnet.data import registry

    if options.action == "get":
        if options.name is None:
            raise ValueError("data get needs the NAME of a data set; `drawnet data list` lists them")
        with progress_bar(options.name) as progress:
            path = registry.get(options.name, lambda done, total: progress(done, total or 0))
        print(f"{options.name} is in {path}")
        return 0
    infos = registry.available()
    if options.json:
        print(json.dumps({"datasets": [vars(info) for info in infos]}))
        return 0
    # Names and folders are there to be copied: nothing is cut off. Brackets in a description are no markup.
    others = (Column(header, overflow="fold") for header in ("images", "what", "licence", "where"))
    table = Table(Column("name", no_wrap=True), *others)
    for info in infos:
        num_images = " / ".join(f"{n:,}" for n in info.num_images)
        table.add_row(info.name, num_images, escape(info.description), info.licence, escape(info.status))
    Console().print(table)
    print("Your own: folder:PATH, PATH.npy or PATH.npz")
    return 0


@dataclass(frozen=True)
class ModelsOptions:
    """List the weights that come with the package.

    Attributes:
        json: one JSON object instead of a table.
    """

    json: bool = False


def models(arguments: list[str]) -> int:
    """Run `drawnet models`."""
    options = parse(ModelsOptions, arguments, "drawnet models")

    from drawnet.checkpoint import shipped_models

    reports = {name: json.loads((path / "report.json").read_text()) for name, path in shipped_models().items()}
    if options.json:
        print(json.dumps({"models": reports}))
        return 0
    # Names and numbers stay whole on a narrow terminal, the rest is broken between words.
    table = Table(Column("name", no_wrap=True), Column("nats, or error", no_wrap=True), "of what, after what training")
    for name, r in reports.items():
        threads = f"{r['threads']} thread{'s' if r['threads'] > 1 else ''}"
        training = f"{r['updates']:,} updates, {r['train_seconds'] / 60:.0f} min, {threads}"
        binarization = f", {r['binarization']} binarisation" if r.get("binarization") else ""
        if "error" in r:
            score, kind = f"{100 * r['error']['mean']:.2f} ± {100 * r['error']['standard_error']:.2f} %", "error"
        else:
            score = f"{r['nats']['mean']:.2f} ± {r['nats']['standard_error']:.2f}"
            kind = ("exact" if r["exact"] else "upper bound") + (", intensities" if r.get("caveat") else "")
        data = f"{r['dataset']} {r['split']}{binarization}"
        table.add_row(name, score, f"{kind}; {data}; {r['num_parameters']:,} parameters, {training}")
    Console().print(table)
    if caveats := {r["caveat"] for r in reports.values() if r.get("caveat")}:
        print(f"intensities: {', '.join(caveats)}")
    return 0
