package main

import "io"

func page(w io.Writer) {}
