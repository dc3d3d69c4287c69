"""What does a container that does not start mean for the user?"""

from __future__ import annotations

from agentpool_api.labels import AGENT_CONTAINER
from agentpool_operator.decide.facts import Trouble

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError"})


def container_trouble(container: str, reason: str, message: str) -> Trouble:
    """Names the field to look at and what to do. ``reason`` is Kubernetes' own waiting reason and stays the reason."""
    own = container == AGENT_CONTAINER
    field = "spec.agent.image" if own else "the operator's runtime image"
    said = f" ({message})" if message else ""
    if reason in _IMAGE:
        what = f"{field} cannot be pulled{said}: check its name and tag, and the access to its registry"
    elif reason == "InvalidImageName":
        what = f"{field} is no valid image name{said}: correct it"
    elif reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        where = "spec.agent" if own else "spec.agent.podTemplate"
        what = f"container {container} cannot be made{said}: check what {where} refers to"
    elif reason == "CrashLoopBackOff":
        where = "spec.agent.command, args and env" if own else "its logs"
        what = f"container {container} ends again and again{said}: check {where} (kubectl logs POD -c {container})"
    else:
        what = f"container {container} does not start: {reason}{said}"
    return Trouble(reason=reason, message=what)
