"""The command ``serve``: outputs as web pages."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from cluster.cli.options import EndpointUrl
from cluster.cli.terminal import tell
from cluster.display.standard import only_displays


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog="Examples:  stylefarm serve out --open  |  stylefarm serve s3://renders/harbour job.yaml  |  "
        "stylefarm serve out --host 0.0.0.0 --port 8080"
    )(serve)


def serve(
    outputs: Annotated[
        list[str],
        typer.Argument(metavar="OUTPUT...", help="Outputs of jobs, or their job files."),
    ],
    endpoint_url: EndpointUrl = None,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen at; one that other machines reach asks for a token, which is part of "
            "the address that is printed."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="The port. Default: 8640, or the next that is free.",
            show_default=False,
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the page in this machine's browser.")
    ] = False,
) -> None:
    """Serve the galleries of outputs to a browser, until Ctrl-C. Nothing is written, and nothing but what the
    galleries show is read; credentials of a store stay here.

    Exit status: 0 after Ctrl-C or SIGTERM, 2 the command line is wrong, 3 an output cannot be reached.
    """
    import webbrowser

    from jobs.errors import UsageError
    from jobs.proofs.find_job import storages_of
    from jobs.storage import keys

    only_displays("the server")
    try:
        from cluster.serve.served import name_all
        from cluster.serve.server import serve as serve_outputs
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UsageError("stylefarm serve needs more: pip install 'stylefarm[serve]'") from None

    on_s3 = [output for output in outputs if output.startswith("s3://")]
    # Where it would have no effect at all, the first output says so.
    served_by = dict.fromkeys(on_s3 or outputs[:1], endpoint_url)
    storages = [storages_of(output, served_by.get(output))[0] for output in outputs]
    for given, storage in zip(outputs, storages, strict=True):
        if all(storage.stat(key) is None for key in (keys.JOB, keys.INDEX, keys.LIVE)):
            raise UsageError(f"{given}: nothing has been rendered to {storage.url}")

    def on_ready(address: str) -> None:
        print(address, flush=True)
        tell("press Ctrl-C to end")
        if open_ and not webbrowser.open(address):
            tell("no browser was found here: open the address above")

    # uvicorn raises it again, when it has ended in peace.
    with contextlib.suppress(KeyboardInterrupt):
        serve_outputs(name_all(storages), host, port, on_ready)
