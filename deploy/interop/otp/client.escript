#!/usr/bin/env escript
%%! -hidden
%% A strict credit-control client made of Erlang/OTP's diameter application,
%% which shares no code with gygate. It holds sessions in both wire profiles
%% (units at command level and in several MSCC), one-time events, refusals at both
%% levels, a repeat with the T bit, and a session whose account is topped up under
%% way, for which it answers a Re-Auth-Request. Every decoded answer is printed.
%%
%% Its decoder refuses unknown AVPs with the M bit (5001), missing AVPs (5005) and
%% wrong lengths (5014) in what we send. Any of them, or a Result-Code other than
%% expected, ends the client with status 1.
%%
%% The account SMALL has 0.05, and has it again at the end: when the client prints
%% TOPUP, its caller has to top it up by 0.25.
%%
%% usage: client.escript PORT tcp|tls PAYER BROKE SMALL [CERT KEY CACERT]
-mode(compile).
-include_lib("diameter/include/diameter.hrl").

-define(SERVICE, gygate_interop).
-define(HOST, "otp.interop.example").
-define(CALLS, "32260@3gpp.org").
-define(DATA, "32251@3gpp.org").
-define(MESSAGES, "32274@3gpp.org").
-define(REFUND_INFORMATION, 2022).
-define(MEGABYTE, 1000000).
-define(RAR_TIMEOUT, 15000). % the node looks for notices each second at least

main([Port, Transport, Payer, Broke, Small | Certs]) ->
    dictionaries(),
    {ok, _} = application:ensure_all_started(ssl),
    ok = diameter:start(),
    ok = diameter:start_service(?SERVICE, service(self())),
    true = diameter:subscribe(?SERVICE),
    {ok, _} = diameter:add_transport(?SERVICE, {connect, transport(Transport, list_to_integer(Port), Certs)}),
    ok = await_up(),
    session(Payer, Broke),
    events(Payer, Broke),
    several_services(Payer, Small),
    reauthorisation(Small),
    diameter:stop_service(?SERVICE),
    halt(0).

%% Units at command level: I, U, U, a repeat of the last with T, T; then an
%% account without money and a subscriber nobody knows.
session(Payer, Broke) ->
    Id = new_session(),
    call("CCR-I", 2001, request(Id, ?CALLS, 1, 0, Payer, [rsu({'CC-Time', 60})])),
    call("CCR-U", 2001, request(Id, ?CALLS, 2, 1, Payer, [usu({'CC-Time', 20}), rsu({'CC-Time', 60})])),
    Update = request(Id, ?CALLS, 2, 2, Payer, [usu({'CC-Time', 20}), rsu({'CC-Time', 60})]),
    First = call("CCR-U", 2001, Update),
    same("CCR-U again, with T", First, call("CCR-U again, with T", 2001, Update, true)),
    call("CCR-T", 2001, request(Id, ?CALLS, 3, 3, Payer, [usu({'CC-Time', 12}), {'Termination-Cause', 1}])),
    call("CCR-I, no money", 4012, request(new_session(), ?CALLS, 1, 0, Broke, [rsu({'CC-Time', 60})])),
    call("CCR-I, unknown subscriber", 5030, request(new_session(), ?CALLS, 1, 0, "46855599999", [rsu({'CC-Time', 60})])),
    call("CCR-U, unknown session", 5002, request(new_session(), ?CALLS, 2, 1, Payer, [rsu({'CC-Time', 60})])).

%% The four events of RFC 8506 §6; the refund names its debit.
events(Payer, Broke) ->
    One = [{'Service-Identifier', 8}, rsu({'CC-Service-Specific-Units', 1})],
    Debit = call("CCR-E direct debit", 2001, event(0, Payer, One)),
    [Token] = [A || #diameter_avp{code = ?REFUND_INFORMATION} = A <- proplists:get_value('AVP', Debit, [])],
    Refund = #diameter_avp{code = ?REFUND_INFORMATION, vendor_id = 10415, is_mandatory = true, data = Token#diameter_avp.data},
    call("CCR-E refund", 2001, event(1, Payer, One ++ [{'AVP', [Refund]}])),
    call("CCR-E the same refund in a new event", 4010, event(1, Payer, One ++ [{'AVP', [Refund]}])),
    call("CCR-E direct debit, no money", 4012, event(0, Broke, One)),
    Enough = call("CCR-E balance check: enough", 2001, event(2, Payer, [money(1)])),
    [0] = proplists:get_value('Check-Balance-Result', Enough),
    NotEnough = call("CCR-E balance check: not enough", 2001, event(2, Payer, [money(1000)])),
    [1] = proplists:get_value('Check-Balance-Result', NotEnough),
    Price = call("CCR-E price enquiry", 2001, event(3, Payer, One)),
    [[{'Unit-Value', [{'Value-Digits', 30}, {'Exponent', [-2]}]}, {'Currency-Code', 978} | _]] =
        proplists:get_value('Cost-Information', Price).

%% Several rating groups in one session: each has a Result-Code of its own. The
%% small account pays for 5 MB in group 10 and then has nothing left for group 20;
%% nobody has priced group 99.
several_services(Payer, Small) ->
    Id = new_session(),
    services("CCR-I, two groups", [{10, 2001}, {20, 2001}],
             request(Id, ?DATA, 1, 0, Payer, [multiple(), mscc(10, 0, 30), mscc(20, 0, 30)])),
    services("CCR-U, two groups", [{10, 2001}, {20, 2001}],
             request(Id, ?DATA, 2, 1, Payer, [mscc(10, 20, 30), mscc(20, 5, 30)])),
    services("CCR-T, two groups", [{10, 2001}, {20, 2001}],
             request(Id, ?DATA, 3, 2, Payer, [mscc(10, 12, 0), mscc(20, 3, 0), {'Termination-Cause', 1}])),
    Short = new_session(),
    services("CCR-I, one group refused, one unrated", [{10, 2001}, {20, 4012}, {99, 5031}],
             request(Short, ?DATA, 1, 0, Small, [multiple(), mscc(10, 0, 5), mscc(20, 0, 5), mscc(99, 0, 5)])),
    services("CCR-T", [{10, 2001}],
             request(Short, ?DATA, 3, 1, Small, [mscc(10, 1, 0), {'Termination-Cause', 1}])).

%% The account is topped up while its last units run: the server asks us to come
%% back (RAR), and then there are new units.
reauthorisation(Small) ->
    Id = new_session(),
    services("CCR-I, the last units", [{10, 2001}],
             request(Id, ?DATA, 1, 0, Small, [multiple(), mscc(10, 0, 30)])),
    io:format("TOPUP~n"),
    receive
        {rar, Id, Avps} ->
            io:format("~nRAR: decoded without errors, answered 2002~n"),
            print(Avps)
    after ?RAR_TIMEOUT ->
        fail("no RAR after the top-up")
    end,
    services("CCR-U after the RAR", [{10, 2001}],
             request(Id, ?DATA, 2, 1, Small, [mscc(10, 2, 22)])),
    services("CCR-T", [{10, 2001}],
             request(Id, ?DATA, 3, 2, Small, [mscc(10, 22, 0), {'Termination-Cause', 1}])).

%% The dictionaries come with OTP as sources only. RFC 4006 has no room for what
%% 3GPP adds (TS 32.299 §7.2), nor the commands of the server; ours is the RFC's
%% with those.
dictionaries() ->
    Dir = filename:join(code:lib_dir(diameter), "examples/dict"),
    Out = filename:dirname(escript:script_name()) ++ "/.build",
    ok = filelib:ensure_dir(Out ++ "/x"),
    true = code:add_patha(Out),
    {ok, Rfc} = file:read_file(filename:join(Dir, "rfc4006_cc.dia")),
    ok = file:write_file(filename:join(Out, "credit_control.dia"), with_3gpp(Rfc)),
    [begin
         ok = diameter_make:codec(filename:join(From, F ++ ".dia"),
                                  [{outdir, Out}, {include, Out},
                                   {inherits, "common/diameter_gen_base_rfc6733"}]),
         {ok, _} = compile:file(filename:join(Out, F), [{outdir, Out}])
     end || {From, F} <- [{Dir, "rfc4005_nas"}, {Out, "credit_control"}]].

with_3gpp(Rfc) ->
    lists:foldl(fun({At, More}, Text) -> binary:replace(Text, At, <<At/binary, More/binary>>) end, Rfc,
                [{<<"@id 4\n">>, <<"@vendor 10415 TGPP\n">>},
                 {<<"@avp_types\n">>,
                  <<"\n"
                    "   Time-Quota-Threshold     868  Unsigned32  VM\n"
                    "   Volume-Quota-Threshold   869  Unsigned32  VM\n"
                    "   Trigger-Type             870  Enumerated  VM\n"
                    "   Quota-Holding-Time       871  Unsigned32  VM\n"
                    "   Quota-Consumption-Time   881  Unsigned32  VM\n"
                    "   Unit-Quota-Threshold    1226  Unsigned32  VM\n"
                    "   Trigger                 1264  Grouped     VM\n"
                    "   Low-Balance-Indication  2020  Enumerated  VM\n"
                    "   Remaining-Balance       2021  Grouped     VM\n"
                    "   Refund-Information      2022  OctetString VM\n">>},
                 {<<"@grouped\n">>,
                  <<"\n"
                    "   Trigger ::= < AVP Header: 1264 >\n"
                    "         * [ Trigger-Type ]\n\n"
                    "   Remaining-Balance ::= < AVP Header: 2021 >\n"
                    "           { Unit-Value }\n"
                    "           { Currency-Code }\n">>},
                 {<<"< AVP Header: 456 >\n">>,
                  <<"           [ Time-Quota-Threshold ] [ Volume-Quota-Threshold ] [ Unit-Quota-Threshold ]\n"
                    "           [ Quota-Holding-Time ] [ Quota-Consumption-Time ] [ Refund-Information ]\n"
                    "         * [ Trigger ]\n">>},
                 {<<"[ CC-Session-Failover ]\n">>,
                  <<"           [ Low-Balance-Indication ] [ Remaining-Balance ]\n">>},
                 {<<"@messages\n">>,
                  <<"\n"
                    "   RAR ::= < Diameter Header: 258, REQ, PXY >\n"
                    "           < Session-Id > { Origin-Host } { Origin-Realm } { Destination-Realm }\n"
                    "           { Destination-Host } { Auth-Application-Id } { Re-Auth-Request-Type }\n"
                    "           [ User-Name ] [ Origin-State-Id ] [ CC-Sub-Session-Id ]\n"
                    "         * [ G-S-U-Pool-Identifier ] * [ Service-Identifier ] * [ Rating-Group ]\n"
                    "         * [ Proxy-Info ] * [ Route-Record ] * [ AVP ]\n\n"
                    "   RAA ::= < Diameter Header: 258, PXY >\n"
                    "           < Session-Id > { Result-Code } { Origin-Host } { Origin-Realm }\n"
                    "           [ User-Name ] [ Origin-State-Id ] [ Error-Message ]\n"
                    "           [ Error-Reporting-Host ] * [ Failed-AVP ] * [ Redirect-Host ]\n"
                    "           [ Redirect-Host-Usage ] [ Redirect-Max-Cache-Time ]\n"
                    "         * [ Proxy-Info ] * [ AVP ]\n">>}]).

service(Owner) ->
    [{'Origin-Host', ?HOST},
     {'Origin-Realm', "interop.example"},
     {'Vendor-Id', 0},
     {'Product-Name', "OTP diameter"},
     {'Auth-Application-Id', [4]},
     {decode_format, list},
     {restrict_connections, false},
     {string_decode, true},
     {application, [{alias, cc},
                    {dictionary, credit_control},
                    {module, callbacks(Owner)},
                    {answer_errors, callback}]}].

transport("tcp", Port, _) ->
    [{transport_module, diameter_tcp}, {transport_config, tcp(Port)}];
transport("tls", Port, [Cert, Key, CA]) ->
    [{transport_module, diameter_tcp},
     {transport_config, [{ssl_options, true}, {certfile, Cert}, {keyfile, Key},
                         {cacertfile, CA}, {verify, verify_peer}] ++ tcp(Port)}].

tcp(Port) ->
    [{raddr, {127, 0, 0, 1}}, {rport, Port}, {ip, {127, 0, 0, 1}}].

callbacks(Owner) ->
    #diameter_callback{
       peer_up = fun(_, _, State) -> State end,
       peer_down = fun(_, _, State) -> State end,
       pick_peer = fun([Peer | _], _, _, _) -> {ok, Peer} end,
       prepare_request = fun(Packet, _, _) -> {send, Packet} end,
       prepare_retransmit = fun(Packet, _, _) -> {send, Packet} end,
       handle_answer = fun(Packet, _, _, _) -> Packet end,
       handle_error = fun(Reason, _, _, _) -> {error, Reason} end,
       handle_request = fun(Packet, _, _) -> serve(Owner, Packet) end}.

%% A Re-Auth-Request without a fault is answered, and handed to the session.
serve(Owner, #diameter_packet{msg = ['RAR' | Avps], errors = []}) ->
    Id = proplists:get_value('Session-Id', Avps),
    Owner ! {rar, Id, Avps},
    {reply, ['RAA', {'Session-Id', Id}, {'Result-Code', 2002},
             {'Origin-Host', ?HOST}, {'Origin-Realm', "interop.example"}]};
serve(_, Packet) ->
    fail(io_lib:format("the server sent a request with faults: ~p", [Packet])).

await_up() ->
    receive
        #diameter_event{info = Info} when element(1, Info) =:= up -> ok;
        #diameter_event{info = {closed, _, Reason, _}} ->
            fail(io_lib:format("connection refused: ~p", [Reason]));
        #diameter_event{} -> await_up()
    after 10000 ->
            fail("no capabilities exchange within 10 s")
    end.

%% A flat text, as it comes back decoded.
new_session() -> binary_to_list(iolist_to_binary(diameter:session_id(?HOST))).

request(SessionId, Context, Type, Number, Payer, Avps) ->
    {Services, Others} = lists:partition(fun({K, _}) -> K =:= 'Multiple-Services-Credit-Control' end, Avps),
    [{'Session-Id', SessionId},
     {'Origin-Host', ?HOST},
     {'Origin-Realm', "interop.example"},
     {'Destination-Realm', "vpn.example"},
     {'Auth-Application-Id', 4},
     {'Service-Context-Id', Context},
     {'CC-Request-Type', Type},
     {'CC-Request-Number', Number},
     {'Event-Timestamp', calendar:universal_time()},
     {'Subscription-Id', [[{'Subscription-Id-Type', 0}, {'Subscription-Id-Data', Payer}]]},
     {'Multiple-Services-Credit-Control', [S || {_, S} <- Services]}
     | Others].

event(Action, Payer, Avps) ->
    request(new_session(), ?MESSAGES, 4, 0, Payer, [{'Requested-Action', Action} | Avps]).

rsu({Unit, N}) -> {'Requested-Service-Unit', [[{Unit, [N]}]]}.
usu({Unit, N}) -> {'Used-Service-Unit', [[{Unit, [N]}]]}.
money(N) -> {'Requested-Service-Unit', [[{'CC-Money', [[{'Unit-Value', [{'Value-Digits', N}]}, {'Currency-Code', [978]}]]}]]}.
multiple() -> {'Multiple-Services-Indicator', 1}.

%% An MSCC that reports and asks for megabytes; 0 does not.
mscc(Group, Used, Wanted) ->
    {'Multiple-Services-Credit-Control',
     [usu({'CC-Total-Octets', Used * ?MEGABYTE}) || Used > 0] ++
     [rsu({'CC-Total-Octets', Wanted * ?MEGABYTE}) || Wanted > 0] ++
     [{'Rating-Group', [Group]}]}.

call(Name, Expected, Avps) -> call(Name, Expected, Avps, false).

%% Good when the answer decodes without a single error and has the expected
%% Result-Code.
call(Name, Expected, Avps, Repeat) ->
    Request = #diameter_packet{header = #diameter_header{is_retransmitted = Repeat}, msg = ['CCR' | Avps]},
    case diameter:call(?SERVICE, cc, Request, [{timeout, 5000}]) of
        #diameter_packet{msg = ['CCA' | Answer], errors = Errors} ->
            Code = proplists:get_value('Result-Code', Answer),
            io:format("~n~s: Result-Code ~p (expected ~p), decode errors ~p~n", [Name, Code, Expected, Errors]),
            print(Answer),
            if Errors =:= [], Code =:= Expected -> Answer;
               true -> fail(Name ++ " is not answered as expected")
            end;
        Other ->
            fail(io_lib:format("~s: no credit-control answer: ~p", [Name, Other]))
    end.

%% As call; the services are answered with these Result-Codes, and one that is
%% asked for and not refused has units.
services(Name, Expected, Avps) ->
    Answer = call(Name, 2001, Avps),
    Codes = [{G, C} || S <- proplists:get_value('Multiple-Services-Credit-Control', Answer),
                       [G] <- [proplists:get_value('Rating-Group', S)],
                       [C] <- [proplists:get_value('Result-Code', S)]],
    lists:sort(Codes) =:= lists:sort(Expected)
        orelse fail(io_lib:format("~s: groups and codes ~p instead of ~p", [Name, Codes, Expected])),
    Answer.

same(_, Answer, Answer) -> ok;
same(Name, First, Second) ->
    fail(io_lib:format("~s: another answer~n~p~n~p", [Name, First, Second])).

%% Numbers in groups and lists are numbers, not the text they might be.
print(Avps) -> [print(K, V) || {K, V} <- Avps, V =/= []].

print('AVP', Others) ->
    [io:format("    ~s = ~p~n", [N, V]) || #diameter_avp{name = N, value = V} <- Others];
print(Name, [First | _] = Value) when is_list(First); is_tuple(First) ->
    io:format("    ~s = ~lp~n", [Name, Value]);
print(Name, [Number]) when is_integer(Number) ->
    io:format("    ~s = ~w~n", [Name, Number]);
print(Name, Value) ->
    io:format("    ~s = ~p~n", [Name, Value]).

fail(Why) ->
    io:format("~nFAILED: ~s~n", [Why]),
    halt(1).
