// Package phone provides SIP phones on real sockets for trying a gateway out:
// [Dial] places a call as a caller would, an [Answerer] takes calls for any
// number of lines. They negotiate a session but send no audio.
//
// They stand on the dialogs of the SIP library, which the gateway does not
// use, so that the two ends of a test do not share a mistake.
package phone
