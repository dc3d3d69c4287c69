"""How does a Kubernetes cluster come to a machine that has none?

`python3 -m cluster up` makes one: kind where Docker is, else a single node made of Kubernetes' own programs. The tests
use :class:`cluster.controlplane.ControlPlane`, which is the same without a real node. Standard library only: it must
run before the project's virtual environment exists.
"""
