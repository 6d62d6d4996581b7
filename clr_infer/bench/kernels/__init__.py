"""Measuring the kernels: time, bytes and exactness beside their references and peers."""
