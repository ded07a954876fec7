package vpnlogic

import "net/http"

// StatusPhrase is the reason phrase of a SIP status (RFC 3261 §21), that of its
// class when the status has none of its own. It is for people; no machine reads
// it.
func StatusPhrase(status int) string {
	if phrase, known := phrases[status]; known {
		return phrase
	}
	if phrase := http.StatusText(status); phrase != "" {
		return phrase
	}
	return phrases[status/100]
}

// phrases are those that HTTP lacks or words otherwise, and one for each class.
var phrases = map[int]string{
	1: "Progress", 2: "OK", 3: "Redirection", 4: "Request Failure", 5: "Server Failure", 6: "Global Failure",

	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
	420: "Bad Extension", 422: "Session Interval Too Small",
	480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
	484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
	491: "Request Pending", 500: "Server Internal Error", 504: "Server Time-out",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}
