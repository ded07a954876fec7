package diameter

import "github.com/fiorix/go-diameter/v4/diam/avp"

// Vendor3GPP is the 3GPP's Vendor-Id.
const Vendor3GPP = 10415

// The AVPs this gateway writes or looks for, with the flags a sender sets. The
// dictionary knows the type of each and of many more that are only passed over.
// Numbers stand here where go-diameter's vocabulary lacks the AVP.

// Base protocol (RFC 6733 §4.5).
var (
	SessionID                   = mandatory(avp.SessionID)
	OriginHost                  = mandatory(avp.OriginHost)
	OriginRealm                 = mandatory(avp.OriginRealm)
	DestinationRealm            = mandatory(avp.DestinationRealm)
	DestinationHost             = mandatory(avp.DestinationHost)
	AuthApplicationID           = mandatory(avp.AuthApplicationID)
	VendorSpecificApplicationID = mandatory(avp.VendorSpecificApplicationID)
	AcctApplicationID           = mandatory(avp.AcctApplicationID)
	VendorID                    = mandatory(avp.VendorID)
	SupportedVendorID           = mandatory(avp.SupportedVendorID)
	HostIPAddress               = mandatory(avp.HostIPAddress)
	InbandSecurityID            = mandatory(avp.InbandSecurityID)
	OriginStateID               = mandatory(avp.OriginStateID)
	ResultCodeAVP               = mandatory(avp.ResultCode)
	FailedAVP                   = mandatory(avp.FailedAVP)
	RouteRecord                 = mandatory(avp.RouteRecord)
	ProxyInfo                   = mandatory(avp.ProxyInfo)
	ProxyHost                   = mandatory(avp.ProxyHost)
	ProxyState                  = mandatory(avp.ProxyState)
	DisconnectCause             = mandatory(avp.DisconnectCause)
	TerminationCause            = mandatory(avp.TerminationCause)
	ReAuthRequestType           = mandatory(avp.ReAuthRequestType)
	UserName                    = mandatory(avp.UserName)
	EventTimestamp              = mandatory(avp.EventTimestamp)
	AcctMultiSessionID          = mandatory(avp.AcctMultiSessionID)
	ExperimentalResult          = mandatory(avp.ExperimentalResult)
	ExperimentalResultCode      = mandatory(avp.ExperimentalResultCode)
	RedirectHost                = mandatory(avp.RedirectHost)
	RedirectHostUsage           = mandatory(avp.RedirectHostUsage)
	RedirectMaxCacheTime        = mandatory(avp.RedirectMaxCacheTime)

	// The M bit is never set on these.
	ProductName        = optional(avp.ProductName)
	FirmwareRevision   = optional(avp.FirmwareRevision)
	ErrorMessage       = optional(avp.ErrorMessage)
	ErrorReportingHost = optional(avp.ErrorReportingHost)
)

// Credit control (RFC 8506 §8).
var (
	CCRequestType                 = mandatory(avp.CCRequestType)
	CCRequestNumber               = mandatory(avp.CCRequestNumber)
	ServiceContextID              = mandatory(avp.ServiceContextID)
	CCSubSessionID                = mandatory(avp.CCSubSessionID)
	RequestedAction               = mandatory(avp.RequestedAction)
	MultipleServicesIndicator     = mandatory(avp.MultipleServicesIndicator)
	MultipleServicesCreditControl = mandatory(avp.MultipleServicesCreditControl)
	RequestedServiceUnit          = mandatory(avp.RequestedServiceUnit)
	UsedServiceUnit               = mandatory(avp.UsedServiceUnit)
	GrantedServiceUnit            = mandatory(avp.GrantedServiceUnit)
	CCTime                        = mandatory(avp.CCTime)
	CCTotalOctets                 = mandatory(avp.CCTotalOctets)
	CCInputOctets                 = mandatory(avp.CCInputOctets)
	CCOutputOctets                = mandatory(avp.CCOutputOctets)
	CCServiceSpecificUnits        = mandatory(avp.CCServiceSpecificUnits)
	CCMoney                       = mandatory(avp.CCMoney)
	UnitValue                     = mandatory(avp.UnitValue)
	ValueDigits                   = mandatory(avp.ValueDigits)
	Exponent                      = mandatory(avp.Exponent)
	CurrencyCode                  = mandatory(avp.CurrencyCode)
	TariffTimeChange              = mandatory(avp.TariffTimeChange)
	TariffChangeUsage             = mandatory(avp.TariffChangeUsage)
	RatingGroup                   = mandatory(avp.RatingGroup)
	ServiceIdentifier             = mandatory(avp.ServiceIdentifier)
	GSUPoolReference              = mandatory(avp.GSUPoolReference)
	GSUPoolIdentifier             = mandatory(avp.GSUPoolIdentifier)
	CCUnitType                    = mandatory(avp.CCUnitType)
	ValidityTime                  = mandatory(avp.ValidityTime)
	FinalUnitIndication           = mandatory(avp.FinalUnitIndication)
	FinalUnitAction               = mandatory(avp.FinalUnitAction)
	RestrictionFilterRule         = mandatory(avp.RestrictionFilterRule)
	FilterID                      = mandatory(avp.FilterID)
	RedirectServer                = mandatory(avp.RedirectServer)
	RedirectAddressType           = mandatory(avp.RedirectAddressType)
	RedirectServerAddress         = mandatory(avp.RedirectServerAddress)
	CCSessionFailover             = mandatory(avp.CCSessionFailover)
	CreditControlFailureHandling  = mandatory(avp.CreditControlFailureHandling)
	DirectDebitingFailureHandling = mandatory(avp.DirectDebitingFailureHandling)
	CheckBalanceResult            = mandatory(avp.CheckBalanceResult)
	CostInformation               = mandatory(avp.CostInformation)
	CostUnit                      = mandatory(avp.CostUnit)
	SubscriptionID                = mandatory(avp.SubscriptionID)
	SubscriptionIDType            = mandatory(avp.SubscriptionIDType)
	SubscriptionIDData            = mandatory(avp.SubscriptionIDData)

	// RFC 8506 lets the sender choose the M bit; we clear it.
	CCCorrelationID            = optional(avp.CCCorrelationID)
	ServiceParameterInfo       = optional(avp.ServiceParameterInfo)
	ServiceParameterType       = optional(avp.ServiceParameterType)
	ServiceParameterValue      = optional(avp.ServiceParameterValue)
	UserEquipmentInfo          = optional(avp.UserEquipmentInfo)
	UserEquipmentInfoType      = optional(avp.UserEquipmentInfoType)
	UserEquipmentInfoValue     = optional(avp.UserEquipmentInfoValue)
	SubscriptionIDExtension    = optional(659)
	SubscriptionIDE164         = optional(660)
	SubscriptionIDIMSI         = optional(661)
	SubscriptionIDSIPURI       = optional(662)
	SubscriptionIDNAI          = optional(663)
	SubscriptionIDPrivate      = optional(664)
	UserEquipmentInfoExtension = optional(653)
	QoSFinalUnitIndication     = optional(669)
)

// Quota control and answers (TS 32.299 §7.2).
var (
	TimeQuotaThreshold   = tgpp(avp.TimeQuotaThreshold)
	VolumeQuotaThreshold = tgpp(avp.VolumeQuotaThreshold)
	UnitQuotaThreshold   = tgpp(avp.UnitQuotaThreshold)
	QuotaHoldingTime     = tgpp(avp.QuotaHoldingTime)
	QuotaConsumptionTime = tgpp(avp.QuotaConsumptionTime)
	ReportingReason      = tgpp(avp.ReportingReason)
	RefundInformation    = tgpp(avp.RefundInformation)
	LowBalanceIndication = tgpp(avp.LowBalanceIndication)
	RemainingBalance     = tgpp(avp.RemainingBalance)

	AnnouncementInformation = tgpp(3904)
	AnnouncementIdentifier  = tgpp(3905)
	TimeIndicator           = tgpp(3911)
	PlayAlternative         = tgpp(3913)
)

// Service content (TS 32.299 §7.2): what a call or a packet session was.
var (
	ServiceInformation         = tgpp(avp.ServiceInformation)
	IMSInformation             = tgpp(avp.IMSInformation)
	PSInformation              = tgpp(avp.PSInformation)
	VCSInformation             = tgpp(avp.VCSInformation)
	EventType                  = tgpp(avp.EventType)
	SIPMethod                  = tgpp(avp.SIPMethod)
	RoleOfNode                 = tgpp(avp.RoleOfNode)
	NodeFunctionality          = tgpp(avp.NodeFunctionality)
	UserSessionID              = tgpp(avp.UserSessionID)
	CallingPartyAddress        = tgpp(avp.CallingPartyAddress)
	CalledPartyAddress         = tgpp(avp.CalledPartyAddress)
	CalledAssertedIdentity     = tgpp(avp.CalledAssertedIdentity)
	RequestedPartyAddress      = tgpp(avp.RequestedPartyAddress)
	IMSChargingIdentifier      = tgpp(avp.IMSChargingIdentifier)
	TimeStamps                 = tgpp(avp.TimeStamps)
	SIPRequestTimestamp        = tgpp(avp.SIPRequestTimestamp)
	SIPResponseTimestamp       = tgpp(avp.SIPResponseTimestamp)
	ServiceSpecificInfo        = tgpp(avp.ServiceSpecificInfo)
	ServiceSpecificData        = tgpp(avp.ServiceSpecificData)
	ServiceSpecificType        = tgpp(avp.ServiceSpecificType)
	CauseCode                  = tgpp(avp.CauseCode)
	StartTime                  = tgpp(avp.StartTime)
	StartOfCharging            = tgpp(3419)
	StopTime                   = tgpp(avp.StopTime)
	NetworkCallReferenceNumber = tgpp(avp.NetworkCallReferenceNumber)
	MSCAddress                 = tgpp(avp.MSCAddress)

	// What a credit-control client adds (TS 32.299 §7.2).
	Trigger                      = tgpp(avp.Trigger)
	TriggerType                  = tgpp(avp.TriggerType)
	AlternateChargedPartyAddress = tgpp(avp.AlternateChargedPartyAddress)
	InterOperatorIdentifier      = tgpp(avp.InterOperatorIdentifier)
	OriginatingIOI               = tgpp(avp.OriginatingIOI)
	TerminatingIOI               = tgpp(avp.TerminatingIOI)
	SIPRequestTimestampFraction  = tgpp(avp.SIPRequestTimestampFraction)
	SIPResponseTimestampFraction = tgpp(avp.SIPResponseTimestampFraction)

	// chargingID3GPP (3GPP-Charging-Id) is read leniently.
	chargingID3GPP = Attribute{Code: 2, Vendor: Vendor3GPP}
)

func mandatory(code uint32) Attribute { return Attribute{Code: code, Flags: AVPMandatory} }

func optional(code uint32) Attribute { return Attribute{Code: code} }

func tgpp(code uint32) Attribute {
	return Attribute{Code: code, Vendor: Vendor3GPP, Flags: AVPMandatory}
}
