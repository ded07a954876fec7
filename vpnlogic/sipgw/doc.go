// Package sipgw puts VPN logic on SIP: a back-to-back user agent that serves
// as an IMS application server behind an S-CSCF (3GPP TS 24.229 §5.7), or
// stands alone between a few phones with static contacts.
//
// An INVITE of a trusted source becomes a [vpnlogic.Attempt]; the service
// screens and charges it and drives the call through its Leg: Connect sends an
// INVITE of our own to the called number, Release ends whatever there is. The
// two dialogs share nothing but the bodies: Call-IDs, tags, Contacts and CSeqs
// are each leg's own. Each call is one bridge, whose goroutine owns the state
// of both legs and writes all that the call sends.
//
// Who is connected may change in mid-call. A called side inside the trust domain
// tells it by P-Asserted-Identity or a changed From, in its answer, a re-INVITE or an
// UPDATE; the service then asks for quota at the new price.
//
// A call that is charged must end when its phones are gone: both legs run
// under session timers (RFC 4028), refreshed by the gateway wherever the peer
// leaves it the choice, and a 200 that is never acknowledged ends the call.
//
// What it does not do: reliable provisional responses (RFC 3262) are neither
// offered nor accepted, call transfer (REFER) and Replaces are refused,
// redirections are not followed, and media never passes through it.
package sipgw
