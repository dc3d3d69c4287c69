"""The demonstration: a real cluster, a real trace of requests, a simulated model endpoint, a budget that acts."""
