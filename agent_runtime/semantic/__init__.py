"""Answers for questions asked before in other words, with a bound on wrong ones."""
