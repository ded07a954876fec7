package harness

import (
	"fmt"

	"gygate/ocs"
)

// Tariffs of the programs: one cent a second on-net, in increments of one second
// and of six; two cents off-net, which is also the price of a request that names
// no rating group.
const (
	tariffHeader    = "id,version,service,rating_group,prefix,unit,currency,fee,minimum,first,following,price,per,valid_from\n"
	TariffPerSecond = tariffHeader + "on-net,1,*,100,,seconds,978,0,0,1,1,0.60,60,2020-01-01T00:00:00Z\n" +
		"off-net,1,*,101,,seconds,978,0,0,1,1,1.20,60,2020-01-01T00:00:00Z\n"
	TariffSixSeconds = tariffHeader + "on-net,1,*,100,,seconds,978,0,0,6,6,0.60,60,2020-01-01T00:00:00Z\n"
)

// MemberHeader is the header line of Members' CSV.
const MemberHeader = "number,group,short_number,prepaid\n"

// Member is one member as a line of CSV.
func Member(number, group, short string) string {
	return fmt.Sprintf("%s,%s,%s,true\n", number, group, short)
}

// Group is a group of four-digit short numbers as CSV.
func Group(id, name string) string {
	return "id,name,customer,country_code,area_code,escape_code,short_digits\n" +
		fmt.Sprintf("%s,%s,%s,46,8,0,4\n", id, name, name)
}

// AccountBooks is the part of `account show --json` that the programs compare.
type AccountBooks struct {
	Available ocs.Money `json:"available"`
	Frozen    ocs.Money `json:"frozen"`
	Spent     ocs.Money `json:"spent"`
}

// Account reads an account back.
func (g *Gygate) Account(msisdn string) (AccountBooks, error) {
	var a AccountBooks
	return a, g.JSON(&a, "account", "show", msisdn)
}
