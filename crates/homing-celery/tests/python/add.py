"""Calls a task of homing's and prints its result."""

import sys

import shop

print(shop.h_add.delay(*map(int, sys.argv[1:])).get(timeout=60))
