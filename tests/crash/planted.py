"""The secrets that are planted, each to be recognised by itself."""

from __future__ import annotations

TOKEN = "planted-token-7f3a"
NEWER = "planted-newer-token-19c2"
ENV = "planted-env-secret-55d0"
LOST = "planted-unused-secret-8e81"
IMAGE = "planted-registry-password-c4b6"
WRONG = "planted-in-a-wrong-place-02aa"

ALL = (TOKEN, NEWER, ENV, LOST, IMAGE, WRONG)
