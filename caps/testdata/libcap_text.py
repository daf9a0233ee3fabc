#!/usr/bin/env python3
"""Writes libcap_text.tsv: what the real libcap makes of texts.

    python3 libcap_text.py >libcap_text.tsv

Run it where libcap.so.2 is 2.66 or later and /proc/sys/kernel/cap_last_cap is
40: libcap asks the running kernel what "all" means.

Columns: text (as a JSON string), effective, permitted, inheritable (hex), and
what cap_to_text makes of them; or text and "error".
"""
import ctypes
import json
import random

lib = ctypes.CDLL("libcap.so.2")
lib.cap_from_text.restype = lib.cap_to_text.restype = ctypes.c_void_p
lib.cap_to_text.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
lib.cap_get_flag.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
lib.cap_to_name.restype = ctypes.c_char_p
lib.cap_free.argtypes = [ctypes.c_void_p]

TEXTS = [
    "", " ", "\n", "=", "= ", "==", "all", "all=", "all=eip", "ALL=e", "All=p", "all+e", "all-e", "all=p+e-i",
    "all=+p", "allX=e", "all_=e", "all =e", "=e all", "=ep", "=eee", "=E", "=ep cap_chown-e", "=+e", "=-e", "=e+p",
    "=e-p", "+e", "-e", "+", "-", "e", "cap_chown", "chown=e", "cap_chown=", "cap_chown= ", "cap_chown=ep+i",
    "cap_chown=e-e+p", "cap_chown+e=p", "cap_chown=e=p", "cap_chown=e =i", "cap_chown,cap_chown=e",
    "cap_chown,,cap_kill=e", ",cap_chown=e", "cap_chown,=e", "cap_chown, cap_kill=e", "cap_chown,all=e",
    "all,cap_chown=e", "cap_chown+", "cap_chown-", "cap_chown+ ", "cap_chown=e+", "cap_chown=e+ e", "cap_chown=+",
    "cap_chown=-", "cap_chown=-e", "cap_chown=+e", "cap_chown=+e-p", "cap_chown=+e+i", "cap_chown=+-e",
    "cap_chown+-e", "cap_chown+e-p", "cap_chown= +e", "cap_chown=x", "cap_chown=ex", "cap_chownX=e", "cap_chown1=e",
    "CAP_CHOWN=e", "Cap_Chown=e", "cap_cap_chown=e", "cap_=e", "_=e", "cap_chown=e\tcap_kill=p\n",
    "cap_chown=e\x0bcap_kill=p\x0c\r", "cap_chown=e,cap_kill=p", "cap_chown=e;cap_kill=p", "cap_chown=e\u00a0",
    "0=p", "00=p", "47=e", "041=e", "012=e", "08=e", "0x2f=e", "0X2F=e", "0x=e", "0xg=e", "0b1=e", "0o7=e", "1_0=e",
    "63=p", "64=p", "-1=e", "99999999999999999999=e", "2f=e", "1chown=e", "=p 47-p", "=p 41+e", "all=ep 0=",
    "cap_net_raw,cap_setuid=ep", "cap_chown=e cap_kill=p cap_setuid=eip 47=e", "=ep 47=i cap_chown=i",
    "all=ep 41=ep 42=ep cap_chown-p", "=ep cap_chown=p cap_kill=i cap_setuid=ei cap_setgid=eip",
    "=ip 5,6+e 60=i", "40=p 41=p",
]


def random_text(rng):
    """A valid text: a few clauses of names and numbers."""
    clauses = []
    for _ in range(rng.randint(1, 6)):
        words = [rng.choice([lib.cap_to_name(rng.randrange(41)).decode(), str(rng.randrange(64))])
                 for _ in range(rng.choice([1, 2, 3, 5, 20]))]
        clause = rng.choice([",".join(words)] * 3 + ["all"])
        flags = lambda: "".join(rng.sample("eip", rng.randint(1, 3)))
        clause += rng.choice("=+-") + flags()
        for _ in range(rng.choice([0, 0, 1, 2])):
            clause += rng.choice("+-") + flags()
        clauses.append(clause)
    return " ".join(clauses)


def row(text):
    caps = lib.cap_from_text(text.encode())
    if not caps:
        return [json.dumps(text), "error"]
    masks = []
    for flag in range(3):  # CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE
        value, mask = ctypes.c_int(), 0
        for cap in range(64):
            if lib.cap_get_flag(caps, cap, flag, ctypes.byref(value)) == 0 and value.value:
                mask |= 1 << cap
        masks.append("%016x" % mask)
    out = lib.cap_to_text(caps, None)
    fields = [json.dumps(text), *masks, ctypes.string_at(out).decode()]
    lib.cap_free(out)
    lib.cap_free(caps)
    return fields


if lib.cap_max_bits() != 41:
    raise SystemExit("this kernel does not have 41 capabilities")
rng = random.Random(1)
for text in TEXTS + [random_text(rng) for _ in range(200)]:
    print("\t".join(row(text)))
