"""Tests of the application, with a Narthex and a database of their own."""
