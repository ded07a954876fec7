package diameter

// Command codes in use (RFC 6733 §3.1, RFC 8506 §3). Whether a message is the
// request or the answer stands in its R bit.
const (
	CmdCapabilitiesExchange uint32 = 257
	CmdReAuth               uint32 = 258
	CmdCreditControl        uint32 = 272
	CmdAbortSession         uint32 = 274
	CmdDeviceWatchdog       uint32 = 280
	CmdDisconnectPeer       uint32 = 282
)

// Application identifiers in use (RFC 6733 §2.4).
const (
	AppBase          uint32 = 0
	AppCreditControl uint32 = 4
	AppRelay         uint32 = 0xffffffff
)

// Result-Codes in use (RFC 6733 §7.1).
const (
	Success                ResultCode = 2001
	LimitedSuccess         ResultCode = 2002
	CommandUnsupported     ResultCode = 3001
	UnableToDeliver        ResultCode = 3002
	RealmNotServed         ResultCode = 3003
	TooBusy                ResultCode = 3004
	LoopDetected           ResultCode = 3005
	RedirectIndication     ResultCode = 3006
	ApplicationUnsupported ResultCode = 3007
	InvalidHeaderBits      ResultCode = 3008
	InvalidAVPBits         ResultCode = 3009
	UnknownPeer            ResultCode = 3010
	ElectionLost           ResultCode = 4003
	AVPUnsupported         ResultCode = 5001
	UnknownSessionID       ResultCode = 5002
	AuthorizationRejected  ResultCode = 5003
	InvalidAVPValue        ResultCode = 5004
	MissingAVP             ResultCode = 5005
	ResourcesExceeded      ResultCode = 5006
	ContradictingAVPs      ResultCode = 5007
	AVPNotAllowed          ResultCode = 5008
	AVPOccursTooManyTimes  ResultCode = 5009
	NoCommonApplication    ResultCode = 5010
	UnsupportedVersion     ResultCode = 5011
	UnableToComply         ResultCode = 5012
	InvalidAVPLength       ResultCode = 5014
	InvalidMessageLength   ResultCode = 5015
	InvalidAVPBitCombo     ResultCode = 5016
	NoCommonSecurity       ResultCode = 5017
)

// Result-Codes of credit control (RFC 8506 §9).
const (
	EndUserServiceDenied       ResultCode = 4010
	CreditControlNotApplicable ResultCode = 4011
	CreditLimitReached         ResultCode = 4012
	UserUnknown                ResultCode = 5030
	RatingFailed               ResultCode = 5031
)
