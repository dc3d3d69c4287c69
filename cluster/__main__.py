"""The command line: `python3 -m cluster --help`."""

import argparse
import re
import sys
from pathlib import Path

from cluster import processes
from cluster.cleanup import remove_state
from cluster.controlplane import ControlPlane
from cluster.errors import ClusterError
from cluster.images import IMAGES, SEMANTIC, Image, build_images, image_size_bytes
from cluster.kind import has_kind, kind_down, kind_up
from cluster.load import build_and_load
from cluster.node import Node, owns_machine
from cluster.paths import state_dir
from cluster.toolchain import install_tools, tool_path


def main(argv: list[str] | None = None) -> int:
    """0: done. 1: not possible, with one line that says what to do; for `status`: not ready."""
    options = _parser().parse_args(argv)
    try:
        code: int | None = options.run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on or cleans up", file=sys.stderr)
        return 130
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m cluster", description="A Kubernetes cluster on this machine.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", type=_name, default="agentpool", help="which cluster (default: %(default)s)")
    named.add_argument("--state", type=Path, help="its folder, if not the one of that name in the cache folder")

    tools = verbs.add_parser("tools", help="install and build what a cluster needs, once on a machine")
    tools.set_defaults(run=_tools)
    up = verbs.add_parser("up", parents=[named], help="make the cluster, or leave it as it is when it is up")
    up.add_argument("--kind", choices=["node", "control-plane"], default="node")
    up.add_argument("--fake-nodes", type=int, default=0, help="control-plane: number of nodes that kwok plays")
    up.set_defaults(run=_up)
    for name, run, text in (
        ("down", _down, "remove the cluster and all it left"),
        ("status", _status, "say what runs"),
        ("kubeconfig", _kubeconfig, "print the path of the credentials"),
    ):
        verbs.add_parser(name, parents=[named], help=text).set_defaults(run=run)
    built = argparse.ArgumentParser(add_help=False)
    built.add_argument("--semantic", action="store_true", help="the runtime with the encoder, too (490 MB)")
    load = verbs.add_parser("load-image", parents=[named, built], help="build images and load them into the node")
    load.set_defaults(run=_load_image)
    images = verbs.add_parser("images", parents=[built], help="build the project's images")
    images.set_defaults(run=_images)
    tool = verbs.add_parser("tool", help="print the path of a tool, for example helm")
    tool.add_argument("tool")
    tool.set_defaults(run=_tool)
    return parser


def _tools(_: argparse.Namespace) -> None:
    install_tools()


def _up(options: argparse.Namespace) -> None:
    state = _state(options)
    if options.kind == "control-plane":
        install_tools()
        ControlPlane(state, fake_nodes=options.fake_nodes).up()
    elif has_kind():
        kind_up(options.name, state / "kubeconfig")
    else:
        install_tools()
        Node(state).up()
    print(f"export KUBECONFIG={state}/kubeconfig")


def _down(options: argparse.Namespace) -> None:
    state = _state(options)
    if has_kind():
        kind_down(options.name)
        remove_state(state)
    Node(state).down()


def _status(options: argparse.Namespace) -> int:
    state = _state(options)
    if not state.exists():
        print(f"{options.name}: down")
        return 1
    alive = {process.component: process.pid for process in processes.find(state)}
    for component in sorted(log.stem for log in (state / "logs").glob("*.log")):
        print(f"  {component:<28}{alive.get(component, 'ended')}")
    ready = _is_ready(state)
    print(f"{options.name}: {'ready' if ready else 'not ready'}\nexport KUBECONFIG={state}/kubeconfig")
    return 0 if ready else 1


def _is_ready(state: Path) -> bool:
    if has_kind() and not (state / "ports.json").exists():
        return True
    if owns_machine(state):
        return Node(state).is_ready()
    try:
        return ControlPlane(state).api.found("/readyz") is not None
    except OSError:  # killed before it had its files
        return False


def _kubeconfig(options: argparse.Namespace) -> None:
    path = _state(options) / "kubeconfig"
    if not path.exists():
        raise ClusterError(f"{options.name} is down: run `python3 -m cluster up --name {options.name}` first")
    print(path)


def _images(options: argparse.Namespace) -> None:
    for image in build_images(_wanted(options)):
        print(f"  {image.reference:<60}{image_size_bytes(image) / 1e6:6.0f} MB")


def _load_image(options: argparse.Namespace) -> None:
    for image in build_and_load(options.name, _state(options), _wanted(options)):
        print(f"  {image.reference}")


def _wanted(options: argparse.Namespace) -> tuple[Image, ...]:
    return (*IMAGES, SEMANTIC) if options.semantic else IMAGES


def _tool(options: argparse.Namespace) -> None:
    print(tool_path(options.tool))


def _state(options: argparse.Namespace) -> Path:
    return (options.state or state_dir(options.name)).resolve()


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError("a name is lower-case letters, digits and dashes, at most 40")
    return text


if __name__ == "__main__":
    sys.exit(main())
