// Package audit finds containers that are given more than they need, and definitions
// that do not mean what they say.
//
// [Audit] looks at containers as package manifest has them, with what is known of each
// besides: a learned profile, what its image holds. Each of the [Rules] reports
// [Finding] values. A finding's severity comes from the danger that package catalog
// knows of the capabilities at hand, and from what the container shares with its host.
//
// [Exceptions] are what somebody decided to live with, with a reason and until a date.
// [Baseline] keeps what is known already from being reported again.
//
// The package has no effects.
package audit
