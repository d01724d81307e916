"""What a delivery and a connection cost, beside a bare server and the reference implementation."""
