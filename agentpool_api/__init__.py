"""What both programs agree on: the resources, their units, the records on the wire. No I/O, no client library."""
