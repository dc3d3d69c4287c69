"""The way of one request, from what was asked to what is answered and booked."""
