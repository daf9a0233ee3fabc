// Package manifest is one view of a container, from whatever file defines it, and the
// way to change that file without touching anything else.
//
// A [Format] reads the bytes of a [Source] into [Container] values: what each container
// asks for, as it is written, with the place of every fact. What stands in a file and
// cannot be known from it (a variable without a value, a template) is [Unknown], never
// guessed. [Container.Given] asks package engine/rules what an engine makes of it.
//
// To change a file, say what a container should be: a [Want]. The format turns wants
// into [Edit] values, which replace ranges of bytes, or refuses with the reason, and
// [Apply] makes them. [Rewrite] does all of that, and has a second, independent parser
// confirm that the meaning changed as intended and in nothing else.
//
// The package and those below it have no effects: other files, and the environment,
// come through functions of the Source.
package manifest
