"""Tests of the documented web applications, under the servers that they are made for."""
