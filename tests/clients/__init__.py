"""Tests of the server on clients that others wrote, unmodified: scripts/test clients."""
